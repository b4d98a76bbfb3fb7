"""The ledger's requests, decided and priced once more under another config, threshold, price list or classifier."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.config import Config
from weighbridge.learning.costing import Costing
from weighbridge.learning.deciding import Decider, Verdict
from weighbridge.learning.labels import ask_of
from weighbridge.learning.refusals import Unusable
from weighbridge.ledger.base import Entry, Ledger
from weighbridge.reports.latency import quantile
from weighbridge.reports.replay import Case, Choice, Replay, Served, replay

_TOGETHER = 32  # texts in one call of the classifier


@dataclass(frozen=True)
class Trial:
    """What is tried. scorer: the classifier that scores anew what was kept; None takes the scores of the ledger."""

    config: Config
    decider: Decider
    costing: Costing
    scorer: Classifier | None


def with_threshold(config: Config, threshold: float) -> Config:
    """The config with that threshold on every route whose policy has one. Raises Unusable where none has."""
    having = {n: r for n, r in config.routes.items() if "threshold" in type(r.policy).model_fields}
    if not having:
        raise Unusable("no route has a policy with a threshold, so another one changes nothing")
    changed = {
        name: route.model_copy(update={"policy": route.policy.model_copy(update={"threshold": threshold})})
        for name, route in having.items()
    }
    return config.model_copy(update={"routes": {**config.routes, **changed}})


def times_of(ledger: Ledger, since: datetime | None, until: datetime | None) -> dict[str, list[float]]:
    """How many seconds each upstream took, in order, for what ended well."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for entry in ledger.entries(since, until):
        if entry.end_reason == "ok" and entry.attempts and entry.upstream and entry.latency_s is not None:
            seen[entry.upstream].append(entry.latency_s)
    return {name: sorted(times) for name, times in seen.items()}


def medians_of(times_s: dict[str, list[float]]) -> dict[str, float]:
    return {name: middle for name, times in times_s.items() if (middle := quantile(times, 0.5)) is not None}


def replayed(
    ledger: Ledger, trial: Trial, times_s: dict[str, list[float]], since: datetime | None, until: datetime | None
) -> Replay:
    """Read the ledger, and say what the span would have been. Raises CannotOpen."""
    scorers: Counter[str] = Counter()

    def cases() -> Iterator[Case]:
        for entry, anew in _scored(ledger.entries(since, until), trial.scorer):
            if trial.scorer is None and entry.score is not None:
                scorers[entry.classifier or "unknown"] += 1
            elif anew is not None and trial.scorer is not None:
                scorers[trial.scorer.version] += 1
            yield case(entry, trial.decider.decide(entry, anew), trial)

    return replay(cases(), times_s, since=since, until=until, scorers=scorers)


def case(entry: Entry, verdict: Verdict, trial: Trial) -> Case:
    """One request both ways."""
    old = Served(
        upstream=entry.upstream,
        location=entry.location,
        cost_nano_usd=entry.cost_nano_usd,
        baseline_nano_usd=entry.baseline_cost_nano_usd,
        shortfall=_shortfall(entry, entry.upstream, verdict, trial.config),
    )
    is_timed = entry.end_reason == "ok"
    latency_s, feedback = entry.latency_s if is_timed else None, entry.feedback
    if verdict.missing is not None:
        return Case(old, None, verdict.missing, latency_s=latency_s, feedback=feedback)
    cost, is_estimate = trial.costing.cost(entry, verdict.upstream, is_at_once=verdict.is_at_once)
    new = Served(
        upstream=verdict.upstream,
        location=_location(entry, verdict.upstream, trial.config),
        cost_nano_usd=cost,
        baseline_nano_usd=trial.costing.baseline(entry),
        shortfall=_shortfall(entry, verdict.upstream, verdict, trial.config),
        is_estimate=is_estimate,
    )
    return Case(old, new, None, _choice(entry, verdict, trial), latency_s, feedback)


def _choice(entry: Entry, verdict: Verdict, trial: Trial) -> Choice | None:
    route = trial.config.routes.get(entry.route or "")
    if route is None or not verdict.is_by_threshold or verdict.shortfall is None:
        return None
    if not {entry.upstream, verdict.upstream} <= {*route.smalls, route.large}:
        return None
    small, large = (trial.costing.cost(entry, name)[0] for name in (route.small, route.large))
    if small is None or large is None:
        return None
    return Choice(verdict.shortfall, small, large, entry.upstream == route.large, verdict.upstream == route.large)


def _shortfall(entry: Entry, upstream: str | None, verdict: Verdict, config: Config) -> float | None:
    """How likely the answer of an upstream is to fall short of the large one's."""
    route = config.routes.get(entry.route or "")
    if upstream is not None and upstream in {entry.baseline_upstream, route.large if route else None}:
        return 0.0
    return verdict.shortfall if route and upstream in route.smalls else None


def _location(entry: Entry, name: str | None, config: Config) -> str | None:
    if name is None or name == entry.upstream:
        return entry.location if name else None
    return config.upstreams[name].location


def _scored(entries: Iterable[Entry], scorer: Classifier | None) -> Iterator[tuple[Entry, Assessment | None]]:
    """Each request with what the scorer says of it; None where there is no scorer, or the request was not kept."""
    waiting = iter(entries)
    if scorer is None:
        yield from ((entry, None) for entry in waiting)
        return
    while some := list(islice(waiting, _TOGETHER)):
        yield from zip(some, _assessed(some, scorer), strict=True)


def _assessed(entries: Sequence[Entry], scorer: Classifier) -> list[Assessment | None]:
    asks = [ask_of(entry.prompt) if entry.prompt else "" for entry in entries]
    found = iter(scorer.assess([ask for ask in asks if ask.strip()]) if any(map(str.strip, asks)) else ())
    return [next(found) if ask.strip() else None for ask in asks]
