"""A picture of lines, dots and a few words as PNG."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Place = tuple[float, float]

_SCALE = 2  # pixels to a unit: sharp on screens of today
_FINER = 4 * _SCALE  # drawn so, then made smaller: Pillow's own edges are hard
_LETTERS = 13  # units high


class Canvas:
    """White at first. Places and widths are in units."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * _FINER, height * _FINER), "white")
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Place], colour: Colour, width: float = 1.0) -> None:
        self._draw.line([_finer(place) for place in points], colour, round(width * _FINER), joint="curve")

    def dot(self, place: Place, radius: float, colour: Colour) -> None:
        self._draw.circle(_finer(place), radius * _FINER, colour)

    def text(self, place: Place, words: str, colour: Colour, anchor: str = "start") -> None:
        """place: of the base line, where the words start or end."""
        font = ImageFont.load_default(_LETTERS * _FINER)
        self._draw.text(_finer(place), words, colour, font, anchor="rs" if anchor == "end" else "ls")

    def png(self) -> bytes:
        written = io.BytesIO()
        self._image.reduce(_FINER // _SCALE).save(written, "PNG", optimize=True)
        return written.getvalue()


def _finer(place: Place) -> Place:
    return place[0] * _FINER, place[1] * _FINER
