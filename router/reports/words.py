"""How figures are written for people: short, with their unit, and a dash for what is not known."""

from collections.abc import Sequence
from datetime import datetime

from weighbridge.classifiers.evaluation.metrics import Interval
from weighbridge.reports.energy import EnergyUse
from weighbridge.reports.report import Figures, Report
from weighbridge.reports.shadows import Shadows
from weighbridge.reports.tally import ERRORS

UNKNOWN = "—"  # a dash on purpose


def money(nano: int | None) -> str:
    """Dollars, to the cent where there are many, finer where there are few. The exact ones are in the JSON."""
    if nano is None:
        return UNKNOWN
    sign, usd = "-" if nano < 0 else "", abs(nano) / 1_000_000_000
    if usd == 0 or usd >= 1:
        return f"{sign}${usd:,.2f}"
    if usd >= 0.0001:
        return f"{sign}${usd:.4f}"
    return f"{sign}${usd:.9f}".rstrip("0")


def percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{fraction * 100:.1f} %"


def share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else UNKNOWN


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def duration(value: float | None) -> str:
    """A long time, in the two units that matter."""
    if value is None:
        return UNKNOWN
    sign, whole = "-" if value < 0 else "", round(abs(value))
    if whole < 60:
        return f"{sign}{abs(value):.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours:,} h {minutes} min"


def energy(mj: float) -> str:
    """Watt-hours, with three digits that matter."""
    return _scaled(mj / 3_600_000, ("mWh", "Wh", "kWh", "MWh"))


def grams(value: float) -> str:
    return _scaled(value, ("mg", "g", "kg", "t"))


def _scaled(value: float, units: Sequence[str]) -> str:
    """A number in the unit, of those a thousand apart, that suits it; the second is the one it came in."""
    size = abs(value)
    place = 0 if 0 < size < 1 else 1 + sum(size >= limit for limit in (1e3, 1e6))
    return f"{value / 1000.0 ** (place - 1):,.3g} {units[place]}"


def between(low: str, high: str) -> str:
    """A range in words; one figure where both ends read the same."""
    (number, unit), (last, last_unit) = low.split(" "), high.split(" ")
    if low == high:
        return low
    return f"{number} to {last} {unit}" if unit == last_unit else f"{low} to {last} {last_unit}"


def used(use: EnergyUse) -> str:
    """What was used, in a line."""
    here = UNKNOWN if use.unknown and not use.local_mj else energy(use.local_mj)
    return f"local {here}, remote {between(energy(use.remote.low), energy(use.remote.high))} (estimated)"


def spared(use: EnergyUse) -> str:
    """What was saved of it, in a line."""
    if use.saved is None:
        return UNKNOWN
    told = between(energy(use.saved.low), energy(use.saved.high))
    emitted = use.emitted.saved_g
    return f"{told}, {between(grams(emitted[0]), grams(emitted[1]))} CO2e" if emitted else told


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def obeyed_by_none(text: str) -> str:
    """Without the characters that a terminal or a spreadsheet would act on."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def printable(text: str | None, nothing: str = "(none)") -> str:
    """A name as it may be shown; what is too long is cut."""
    if text is None:
        return nothing
    clean = obeyed_by_none(text)
    return clean if len(clean) <= 80 else f"{clean[:79]}…"


def span(report: Report) -> str:
    return spelt(report.since, report.until)


def spelt(since: datetime | None, until: datetime | None) -> str:
    """A span of time; None is open."""
    if since is None and until is None:
        return "the whole ledger"
    return f"{_moment(since, 'the beginning')} to {_moment(until, 'now')} UTC"


def _moment(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def notes(figures: Figures) -> list[str]:
    """What the sums leave out, and what the estimate rests on."""
    told = []
    counted = figures.savings
    if counted.left_out_requests:
        told.append(
            f"{many(counted.left_out_requests, 'request')} left out of the savings:"
            " the cost, or what the baseline would have cost, is not known."
        )
    if counted.unknown_cost_requests:
        told.append(f"{many(counted.unknown_cost_requests, 'request')} without a known cost, so not in the total.")
    others = dict(figures.ends)
    if left := others.get("client_gone"):
        told.append(f"{many(left, 'request')} ended by the client; what they cost counts.")
    if under_way := others.get("open"):
        told.append(f"{many(under_way, 'request')} still under way.")
    told.append(f"Time saved: {figures.latency.why}.")
    if figures.energy:
        told += _energy_notes(figures.energy)
    return told


def _energy_notes(use: EnergyUse) -> list[str]:
    told = []
    sources = ((use.measured, "measured"), (use.from_watts, "from the watts in the config"))
    if known := ", ".join(f"{many(count, 'attempt')} {how}" for count, how in sources if count):
        told.append(f"Local energy: {known}.")
    if use.unknown:
        told.append(f"{many(use.unknown, 'local attempt')} of unknown energy: set `electricity` of the upstream.")
    if use.uncounted:
        told.append(f"{many(use.uncounted, 'remote attempt')} of unknown tokens, so without an estimate of energy.")
    return told


def ends(figures: Figures) -> str:
    """The ways in which requests failed."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in figures.ends if name in ERRORS)


def of_shadows(found: Shadows) -> list[str]:
    """What shadows found, and what that cost."""
    unknown = f", and {many(found.unknown_calls, 'call')} of unknown cost" if found.unknown_calls else ""
    told = [
        f"Shadows: {found.judged:,} of {many(found.compared, 'answer')} judged, {money(found.cost_nano_usd)}"
        f" spent{unknown}; not in the cost above."
    ]
    if (total := found.total) is not None:
        told.append(
            f"Measured on them: small {interval(total.small)}, large {interval(total.large)}; users got"
            f" {interval(total.kept, as_percent=True)} of the large model's worth."
        )
    for side, measured in (("small", found.small_served), ("large", found.large_served)):
        if measured is not None:
            told.append(
                f"Where the {side} one answered ({measured.requests:,}): small {interval(measured.small)},"
                f" large {interval(measured.large)}."
            )
    return told


def interval(found: Interval, *, as_percent: bool = False) -> str:
    """A figure with its 95 % interval."""
    if found.value != found.value:  # NaN: there was nothing to divide by
        return UNKNOWN
    if as_percent:
        return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
