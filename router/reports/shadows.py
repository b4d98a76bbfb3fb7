"""What shadows found: how good both models are on the user's own traffic, with intervals, and what it cost to know."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from weighbridge.classifiers.evaluation.metrics import Floats, Interval, bootstrap_all
from weighbridge.ledger.base import Ledger
from weighbridge.ledger.notes import Shadowed, ShadowSpend


@dataclass(frozen=True, slots=True)
class Measured:
    """Judged answers, with 95 % bootstrap intervals over requests.

    small, large: what the answers of each model were worth, 0..1, on the same requests.
    kept: what users got, as a part of what the large model's answers were worth.
    """

    requests: int
    small: Interval
    large: Interval
    kept: Interval


@dataclass(frozen=True, slots=True)
class Shadows:
    """Money in nano-USD, over the calls whose cost is known; unknown_calls: the others.

    small_served, large_served: of the requests that this side answered.
    """

    compared: int
    judged: int
    calls: int
    cost_nano_usd: int
    unknown_calls: int
    total: Measured | None
    small_served: Measured | None
    large_served: Measured | None
    sources: tuple[tuple[str, int], ...]


def shadows(ledger: Ledger, since: datetime | None, until: datetime | None) -> Shadows | None:
    """None where there was none. Raises CannotOpen."""
    spend = ledger.shadow_spend(since, until)
    rows = list(ledger.shadows(since, until))
    return shadows_of(rows, spend) if rows or spend else None


def shadows_of(rows: Sequence[Shadowed], spend: Sequence[ShadowSpend]) -> Shadows:
    judged = [row for row in rows if row.small_worth is not None and row.large_worth is not None]
    sources = Counter(row.source or "" for row in judged)
    return Shadows(
        compared=len(rows),
        judged=len(judged),
        calls=sum(one.calls for one in spend),
        cost_nano_usd=sum(one.cost_nano_usd for one in spend),
        unknown_calls=sum(one.unknown for one in spend),
        total=_measured(judged),
        small_served=_measured([row for row in judged if row.served == "small"]),
        large_served=_measured([row for row in judged if row.served == "large"]),
        sources=tuple(sources.most_common()),
    )


def _measured(rows: Sequence[Shadowed]) -> Measured | None:
    if not rows:
        return None
    import numpy as np  # noqa: PLC0415  # only who has shadows waits for it

    small = np.array([row.small_worth for row in rows], dtype=np.float64)
    large = np.array([row.large_worth for row in rows], dtype=np.float64)
    got = np.where(np.array([row.served == "small" for row in rows]), small, large)
    measures = {"small": _mean_of_first, "large": _mean_of_second, "kept": _kept}
    found = bootstrap_all(measures, small, large, got)
    return Measured(len(rows), found["small"], found["large"], found["kept"])


def _mean_of_first(small: Floats, large: Floats, got: Floats) -> float:  # one of three measures
    return float(small.mean())


def _mean_of_second(small: Floats, large: Floats, got: Floats) -> float:  # as above
    return float(large.mean())


def _kept(small: Floats, large: Floats, got: Floats) -> float:  # as above
    return float(got.mean() / large.mean()) if large.any() else float("nan")
