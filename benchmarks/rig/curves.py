"""Quality over the share of large calls as a picture: an SVG with a panel for each dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.metrics import Floats

_WIDTH, _HEIGHT, _ACROSS = 300, 230, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 26, 42
_POINTS = 101
_COLOURS = ("#0b6e4f", "#c8553d", "#888888")


@dataclass(frozen=True)
class Panel:
    """One dataset. scores: by name, in the order in which they are drawn; at most three."""

    name: str
    small: Floats
    large: Floats
    scores: Mapping[str, Floats]


def picture(panels: Sequence[Panel]) -> str:
    """Dashed is a shuffled score, pale the oracle that knows every answer."""
    across = min(_ACROSS, max(1, len(panels)))
    width, height = across * _WIDTH, -(-len(panels) // across) * _HEIGHT
    drawn = "".join(_panel(place, panel) for place, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="10"><rect width="{width}" height="{height}" fill="white"/>{drawn}</svg>\n'
    )


def _panel(place: int, panel: Panel) -> str:
    left, top = place % _ACROSS * _WIDTH + _LEFT, place // _ACROSS * _HEIGHT + _TOP
    right, floor = left + _WIDTH - _LEFT - _RIGHT, top + _HEIGHT - _TOP - _BOTTOM
    oracle = _quality(panel, panel.large - panel.small)
    low, high = float(panel.small.mean()), float(oracle.max())

    def line(quality: Floats, style: str) -> str:
        some = np.linspace(0, len(quality) - 1, _POINTS).round().astype(int)
        across = np.linspace(left, right, _POINTS)
        up = floor - (floor - top) * (quality[some] - low) / (high - low or 1)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    shuffled = np.linspace(low, float(panel.large.mean()), _POINTS)
    parts = [line(oracle, 'stroke="#d8d8d8"'), line(shuffled, 'stroke="#bbbbbb" stroke-dasharray="3 3"')]
    for i, (name, score) in enumerate(panel.scores.items()):
        parts.append(line(_quality(panel, score), f'stroke="{_COLOURS[i]}" stroke-width="1.6"'))
        parts.append(f'<text x="{left + 84 * i}" y="{floor + 32}" fill="{_COLOURS[i]}">{name}</text>')
    return (
        f'<text x="{left}" y="{top - 10}" font-weight="bold">{panel.name}</text>'
        f'<path d="M{left} {top}V{floor}H{right}" fill="none" stroke="#444"/>'
        f'<text x="{left - 34}" y="{top + 8}">{high:.2f}</text><text x="{left - 34}" y="{floor}">{low:.2f}</text>'
        f'<text x="{left}" y="{floor + 14}">0</text>'
        f'<text x="{right}" y="{floor + 14}" text-anchor="end">share of large calls 1</text>{"".join(parts)}'
    )


def _quality(panel: Panel, score: Floats) -> Floats:
    return metrics.curve(score, panel.small, panel.large).quality
