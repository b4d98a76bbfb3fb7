"""What the benchmark of quality shows: its table, its goals, and what others published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.classifiers.evaluation.comparison import LENGTH, Line
from weighbridge.classifiers.evaluation.metrics import Interval

IN_DOMAIN, LEFT_OUT, CALIBRATED = "in-domain", "left out", "left out, 100 labels"
HEAD, RANDOM = "fitted head", "random"

# Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665v4, sections 5.1 and 5.2.
PUBLISHED = (
    ("MMLU", "similarity-weighted, arena and 1.5k gold labels: the best", "0.603", "35.4 %"),
    ("MMLU", "four routers on arena data alone", "0.47 to 0.52", ""),
    ("GSM8K", "causal LLM of 8 B, arena and judge: the best", "0.622", "33.6 %"),
    ("MT-Bench", "matrix factorisation, arena and judge: the best", "0.802", "13.4 %"),
)
DIFFERS = """\
`routellm_mmlu` has RouteLLM's own questions and outcomes (GPT-4-1106 beside Mixtral 8x7B), less a part that is kept
back. What differs: their gold labels are 1.5k questions of MMLU's validation split, ours are other questions of the
same test split, so `fit on 1500` is the row to put beside theirs, and in-domain has six times their labels. Their other
labels are people's preferences, ours right and wrong answers. MMLU is old and public: both models, and whoever made
the encoders, may have seen its questions. GSM8K and MT-Bench are not in this data: nothing of ours stands beside them.\
"""

# The least APGR by setting and dataset.
GOALS = {
    (IN_DOMAIN, "routellm_mmlu"): 0.70,
    (IN_DOMAIN, "mmlupro"): 0.585,
    (IN_DOMAIN, "bfcl_v1"): 0.575,
    (IN_DOMAIN, "zeroeval_mathl5"): 0.545,
    ("fit on 300", "routellm_mmlu"): 0.62,
    ("fit on 1500", "routellm_mmlu"): 0.645,
}
LEFT_OUT_GOAL, ECE_GOAL, ECE_CALIBRATED_GOAL = 0.55, 0.04, 0.10


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    dataset: str
    setting: str
    line: Line


@dataclass(frozen=True)
class Goal:
    what: str
    measured: str
    wanted: str
    is_met: bool


COLUMNS = {
    "auroc": "AUROC",
    "apgr": "APGR",
    "ece": "ECE",
    "cpt50": "CPT50",
    "cpt80": "CPT80",
    "cost_at_95": "cost at 95 %",
    "lift": "lift",
}


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [("dataset", "setting", "head", "rows", *COLUMNS.values())]
    for row in rows:
        cells = (getattr(row.line, column) for column in COLUMNS)
        lines.append((row.dataset, row.setting, row.line.name, f"{row.line.rows:,}", *(_cell(cell) for cell in cells)))
    return table(lines)


def _cell(interval: Interval | None) -> str:
    return "" if interval is None or np.isnan(interval.value) else str(interval)


def table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def published() -> str:
    head = ("RouteLLM, arXiv 2406.18665v4", "router", "APGR", "CPT50")
    return f"{table([head, *PUBLISHED])}\n\n{DIFFERS}"


def goals(rows: Sequence[Row]) -> list[Goal]:
    """What can be judged with these rows."""
    by = {(row.setting, row.dataset, row.line.name): row.line for row in rows}
    names = list(dict.fromkeys(row.dataset for row in rows))
    found = [
        _at_least(f"{name}, {setting}: APGR", by[setting, name, HEAD].apgr, least)
        for (setting, name), least in GOALS.items()
        if (setting, name, HEAD) in by
    ]
    for name in names:
        found += _beside_length(name, by[IN_DOMAIN, name, HEAD], by[IN_DOMAIN, name, LENGTH])
    for setting, most in ((IN_DOMAIN, ECE_GOAL), (CALIBRATED, ECE_CALIBRATED_GOAL)):
        lines = {name: by[setting, name, HEAD] for name in names if (setting, name, HEAD) in by}
        found += [_at_most(f"{name}, {setting}: ECE", line.ece, most) for name, line in lines.items()]
    return found + _left_out(by, names)


def _beside_length(name: str, mine: Line, length: Line) -> list[Goal]:
    is_met = _value(mine.apgr) >= 0.5 and mine.apgr is not None and mine.apgr.high >= _value(length.apgr)
    told = f">= 0.5, and not below length's {length.apgr}"
    return [Goal(f"{name}, {IN_DOMAIN}: APGR", str(mine.apgr), told, is_met)]


def _left_out(by: Mapping[tuple[str, str, str], Line], names: Sequence[str]) -> list[Goal]:
    if len(names) == 1:
        return []
    reached, length = (
        float(np.mean([_value(by[setting, name, head].apgr) for name in names]))
        for setting, head in ((LEFT_OUT, HEAD), (IN_DOMAIN, LENGTH))
    )
    told = f">= {LEFT_OUT_GOAL:.2f}, and above length's {length:.3f}"
    is_met = reached >= LEFT_OUT_GOAL and reached > length
    return [Goal(f"{LEFT_OUT}: mean APGR", f"{reached:.3f}", told, is_met)]


def _at_least(what: str, measured: Interval | None, least: float) -> Goal:
    return Goal(what, str(measured), f">= {least:g}", _value(measured) >= least)


def _at_most(what: str, measured: Interval | None, most: float) -> Goal:
    return Goal(what, str(measured), f"<= {most:.2f}", _value(measured) <= most)


def _value(interval: Interval | None) -> float:
    return float("nan") if interval is None else interval.value
