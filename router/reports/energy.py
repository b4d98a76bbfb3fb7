"""What electricity the answers took, here and at the providers, and what the baseline would have taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from weighbridge.energy import Footprint, Range
from weighbridge.ledger.base import Work


@dataclass(frozen=True, slots=True)
class Emitted:
    """Grams of CO2e; None where the grid's factor, or the energy, is not known. Pairs are low and high."""

    local_g: float | None
    remote_g: tuple[float, float] | None
    baseline_g: tuple[float, float] | None
    saved_g: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """Energy in millijoules.

    local_mj: of the attempts here whose energy is known: `measured`, or told by the watts of the config.
    unknown: attempts here that are in none of these. remote: estimated from output tokens.
    uncounted: remote attempts whose tokens nobody knows. baseline: of the same answers; None where it is unknown.
    saved: low and high use the same end of both estimates, since what is unknown of them is the same.
    """

    local_mj: int
    measured: int
    from_watts: int
    unknown: int
    remote: Range
    uncounted: int
    baseline: Range | None
    saved: Range | None
    emitted: Emitted


@dataclass(slots=True)
class _Sum:
    local_mj: int = 0
    measured: int = 0
    from_watts: int = 0
    unknown: int = 0
    uncounted: int = 0
    remote: Range = field(default_factory=Range)
    baseline: Range = field(default_factory=Range)
    without_baseline: int = 0

    def add(self, work: Work, footprint: Footprint) -> None:
        if work.location == "local":
            self._add_local(work, footprint)
        elif work.upstream is not None:
            self.remote += footprint.answered(work.upstream, work.output_tokens)
            self.uncounted += work.without_tokens
        if (baseline := work.baseline_upstream) and baseline in footprint.wh_per_1k:
            self.baseline += footprint.answered(baseline, work.answered_tokens)
        else:
            self.without_baseline += work.answered_tokens

    def _add_local(self, work: Work, footprint: Footprint) -> None:
        self.local_mj += work.measured_mj
        self.measured += work.measured
        if (drawn_mj := footprint.worked(str(work.upstream), work.others_us)) is None:
            self.unknown += work.others
        else:
            self.local_mj += drawn_mj
            self.from_watts += work.others


def energy_use(works: Iterable[Work], footprint: Footprint) -> EnergyUse:
    total = _Sum()
    for work in works:
        total.add(work, footprint)
    baseline = total.baseline if total.baseline.high and not total.without_baseline else None
    saved = _saved(total, baseline)
    return EnergyUse(
        local_mj=total.local_mj,
        measured=total.measured,
        from_watts=total.from_watts,
        unknown=total.unknown,
        remote=total.remote,
        uncounted=total.uncounted,
        baseline=baseline,
        saved=saved,
        emitted=_emitted(total, baseline, footprint, is_whole=saved is not None),
    )


def _saved(total: _Sum, baseline: Range | None) -> Range | None:
    if baseline is None or total.unknown or total.uncounted:
        return None
    low, high = sorted(
        (baseline.low - total.remote.low - total.local_mj, baseline.high - total.remote.high - total.local_mj)
    )
    return Range(low, high)


def _emitted(total: _Sum, baseline: Range | None, footprint: Footprint, *, is_whole: bool) -> Emitted:
    local = None if total.unknown else footprint.grams(total.local_mj, is_local=True)
    there, instead = _grams(total.remote, footprint), _grams(baseline, footprint)
    saved = None
    if is_whole and local is not None and there and instead:
        low, high = sorted((instead[0] - there[0] - local, instead[1] - there[1] - local))
        saved = (low, high)
    return Emitted(local, there, instead, saved)


def _grams(energy: Range | None, footprint: Footprint) -> tuple[float, float] | None:
    if energy is None:
        return None
    low, high = footprint.grams(energy.low, is_local=False), footprint.grams(energy.high, is_local=False)
    return None if low is None or high is None else (low, high)
