"""How long answers took, and how long those given at home would have taken on the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

from weighbridge.reports.tally import Pace, Tally

ENOUGH = 5  # answers of the baseline upstream, before its pace is taken for known


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds; None where nothing was observed."""

    ttft_p50_s: float | None
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """What was observed of answers that ended well, and an estimate from it.

    saved_s: the baseline's estimated seconds less the actual ones, summed over the local answers and those for which
        another upstream was asked before in vain; negative where that was slower. None without evidence.
    why: what the estimate rests on, or why there is none.
    """

    local: Spread
    remote: Spread
    saved_s: float | None
    why: str


def latency(tally: Tally, evidence: Tally | None = None) -> Latency:
    """evidence: where the baseline's pace is looked for; a group looks in the whole ledger."""
    saved_s, why = _saved(tally, (evidence or tally).paces)
    return Latency(_spread(tally, "local"), _spread(tally, "remote"), saved_s, why)


def quantile(values: Sequence[float], fraction: float) -> float | None:
    """Between the two nearest observations. The values must be in order."""
    if not values:
        return None
    place = fraction * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _spread(tally: Tally, location: str) -> Spread:
    times = tally.times.get(location)
    if times is None:
        return Spread(None, None, None)
    first, whole = ([us / 1e6 for us in sorted(seen)] for seen in (times.ttft_us, times.latency_us))
    return Spread(quantile(first, 0.5), quantile(whole, 0.5), quantile(whole, 0.95))


def _saved(tally: Tally, paces: dict[str, Pace]) -> tuple[float | None, str]:
    if not any(kept.answers for kept in tally.kept.values()):
        return None, "no local answer to compare"
    known = {name: pace for name, seen in paces.items() if (pace := _pace(seen))}
    comparable = [(*known[name], kept) for name, kept in tally.kept.items() if name in known]
    answers = sum(kept.answers for _, _, kept in comparable)
    if not answers:
        return None, f"fewer than {ENOUGH} answers of the baseline upstream to estimate from"
    saved_s = sum(
        start_s * kept.answers + per_token_s * kept.output_tokens - kept.latency_us / 1e6
        for start_s, per_token_s, kept in comparable
    )
    return saved_s, f"estimated for {answers:,} answers from the baseline's observed pace"


def _pace(seen: Pace) -> tuple[float, float] | None:
    """Median seconds to the first token and per output token, from streams where there are enough."""
    if len(seen.starts_s) >= ENOUGH:
        return quantile(sorted(seen.starts_s), 0.5) or 0.0, quantile(sorted(seen.per_token_s), 0.5) or 0.0
    if len(seen.whole_per_token_s) >= ENOUGH:
        return 0.0, quantile(sorted(seen.whole_per_token_s), 0.5) or 0.0
    return None
