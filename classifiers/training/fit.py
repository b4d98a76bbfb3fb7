"""Fitting the shipped head: the three models on outcomes and on prompts of our own, and a softmax over the tasks."""

import json
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from weighbridge.classifiers import features
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.head import Head, Inputs
from weighbridge.classifiers.training import models
from weighbridge.classifiers.training.dataset import CHANGED, Rows
from weighbridge.classifiers.training.models import Fitting, Floats, Singles, single

# How much each of the three models counts, in spreads of what it says. For questions of the kind that was fitted the
# trees rank best and the landmarks worst; for kinds that were not, it is the other way round, and that is what the
# shipped head meets.
TRUST = np.array([0.5, 2.0, 1.0])
LENGTH_PRIOR = 0.3  # what a spread of the logarithm of the length adds, in spreads of one model


def fit(inputs: Inputs, rows: Rows, weights: Floats) -> Head:
    """The head without its calibration. weights: how many times each of the three models counts."""
    head = models.joined(models.fit(fitting(inputs, rows)), weights)
    task_w, task_b = tasks(inputs, rows)
    return replace(head, lexical_w=length_prior(), task_w=task_w, task_b=task_b)


def length_prior() -> Singles:
    prior = np.zeros(len(features.NAMES))
    prior[features.NAMES.index("log_characters")] = LENGTH_PRIOR
    return single(prior)


def fitting(inputs: Inputs, rows: Rows) -> Fitting:
    return Fitting(inputs, rows.target, rows.weight / rows.weight.mean())


def tasks(inputs: Inputs, rows: Rows) -> tuple[Singles, Singles]:
    """A softmax over the tasks, from our own prompts and the public ones whose domain says what they are."""
    known = (rows.task != "") & (rows.dataset != CHANGED)
    # All public rows together count as much as a fifth of our own: they know one task only.
    own, public = rows.own & known, ~rows.own & known
    weight = np.where(own, 1.0, 0.2 * own.sum() / max(1, public.sum()))
    model = LogisticRegression(C=30.0, max_iter=3000)
    model.fit(inputs.embedding[known].astype(np.float64), rows.task[known], sample_weight=weight[known])
    if list(model.classes_) != list(TASKS):
        raise ValueError(f"prompts for every task are needed, found {json.dumps(list(model.classes_))}")
    return single(model.coef_.T), single(model.intercept_)
