"""A picture of lines, dots and a few words as PNG, drawn with numpy alone. Not for prose: it knows few characters."""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LETTER_WIDTH, _LETTER_HEIGHT = 6, 8  # of which the last column and row are empty

# Five columns each, the lowest bit on top.
_FONT = {
    letter: bytes.fromhex(columns)
    for letter, columns in {
        " ": "0000000000", "$": "242a7f2a12", "%": "2313086462", ",": "0050300000", "-": "0808080808",
        ".": "0060600000", "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31",
        "4": "1814127f10", "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936",
        "9": "064949291e", "a": "2054545478", "b": "7f48444438", "c": "3844444420", "d": "384444487f",
        "e": "3854545418", "f": "087e090102", "g": "0c5252523e", "h": "7f08040478", "i": "00447d4000",
        "j": "2040443d00", "k": "7f10284400", "l": "00417f4000", "m": "7c04180478", "n": "7c08040478",
        "o": "3844444438", "p": "7c14141408", "q": "081414187c", "r": "7c08040408", "s": "4854545420",
        "t": "043f444020", "u": "3c4040207c", "v": "1c2040201c", "w": "3c4030403c", "x": "4428102844",
        "y": "0c5050503c", "z": "4464544c44",
    }.items()
}  # fmt: skip
_UNKNOWN = b"\x7f\x41\x41\x41\x7f"


class Canvas:
    """White at first. Places and widths are in units; a unit is `scale` pixels."""

    def __init__(self, width: int, height: int, scale: int = 2) -> None:
        self._scale = scale
        self._pixels = np.full((height * scale, width * scale, 3), 255.0)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1.0) -> None:
        """From point to point, with soft edges."""
        covered = np.zeros(self._pixels.shape[:2])
        for start, end in pairwise(points):
            a, b = (np.array(place) * self._scale for place in (start, end))
            rows, columns = self._around(np.minimum(a, b), np.maximum(a, b), width * self._scale)
            y, x = np.mgrid[rows, columns] + 0.5
            along = b - a
            part = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / (along @ along or 1.0)
            part = part.clip(0, 1)
            away = np.hypot(x - a[0] - part * along[0], y - a[1] - part * along[1])
            here = (width * self._scale / 2 + 0.5 - away).clip(0, 1)
            covered[rows, columns] = np.maximum(covered[rows, columns], here)
        self._paint(covered, colour)

    def dot(self, place: tuple[float, float], radius: float, colour: Colour) -> None:
        """A line without a length, as wide as the dot."""
        self.line([place, place], colour, 2 * radius)

    def text(self, place: tuple[float, float], words: str, colour: Colour, anchor: str = "start") -> None:
        """place: of the base line; words that would begin outside are moved in. anchor: "start" or "end"."""
        if not words:
            return
        columns = np.frombuffer(b"".join(_FONT.get(letter, _UNKNOWN) + b"\0" for letter in words), np.uint8)
        letters = np.unpackbits(columns[None], axis=0, bitorder="little").astype(float)
        letters = np.kron(letters, np.ones((self._scale, self._scale)))
        left = place[0] * self._scale - (letters.shape[1] if anchor == "end" else 0)
        top = (place[1] - _LETTER_HEIGHT + 1) * self._scale
        row, column = max(0, round(top)), max(0, round(left))
        room = self._pixels.shape
        letters = letters[: room[0] - row, : room[1] - column]
        covered = np.zeros(room[:2])
        covered[row : row + letters.shape[0], column : column + letters.shape[1]] = letters
        self._paint(covered, colour)

    def png(self) -> bytes:
        pixels = self._pixels.round().astype(np.uint8)
        height, width = pixels.shape[:2]
        rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
        return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)

    def _around(self, least: NDArray[np.float64], most: NDArray[np.float64], margin: float) -> tuple[slice, slice]:
        """The rows and columns that a stroke may touch."""
        low = np.floor(least - margin).astype(int).clip(0)
        high = np.ceil(most + margin).astype(int).clip(0) + 1
        height, width = self._pixels.shape[:2]
        return slice(low[1], min(high[1], height)), slice(low[0], min(high[0], width))

    def _paint(self, covered: NDArray[np.float64], colour: Colour) -> None:
        self._pixels += covered[:, :, None] * (np.array(colour, dtype=float) - self._pixels)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
