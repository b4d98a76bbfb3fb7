"""A comparison as people read it: its figures as cells, as a Markdown table, and the verdict in a sentence."""

import math

from weighbridge.classifiers.evaluation.comparison import Comparison, Line

COLUMNS = {
    "auroc": "AUROC",
    "ece": "ECE",
    "apgr": "APGR",
    "cpt50": "CPT50",
    "cpt80": "CPT80",
    "cost_at_95": "cost at 95 %",
    "cost_at_98": "cost at 98 %",
    "large_share": "large share",
    "quality": "quality",
    "lift": "lift",
}


def verdict(comparison: Comparison) -> str:
    """Whether looking at the prompts pays, in a sentence."""
    lift = comparison.head.lift
    if lift is None or math.isnan(lift.value):
        return "Whether it beats a shuffled score cannot be said."
    words = f"quality above a shuffled score at the same cost, on average: {lift}"
    if comparison.beats_shuffled:
        return f"It beats the shuffled control ({words})."
    why = "it is worse" if lift.high < 0 else "the interval holds zero"
    return f"It does not beat the shuffled control: {why} ({words})."


def as_markdown(lines: list[Line]) -> str:
    head = "| | rows | " + " | ".join(COLUMNS.values()) + " |"
    body = [f"| {x.name} | {x.rows:,} | " + " | ".join(cells(x)) + " |" for x in lines]
    return "\n".join([head, "|---" * (len(COLUMNS) + 2) + "|", *body])


def cells(line: Line) -> list[str]:
    """A line's figures as text, empty where there is none."""
    found = []
    for column in COLUMNS:
        interval = getattr(line, column)
        found.append("" if interval is None or math.isnan(interval.value) else str(interval))
    return found


def plain(value: object) -> object:
    """What JSON can hold: six digits, which is more than is known, and no NaN."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
