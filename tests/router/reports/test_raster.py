"""A PNG that is drawn without a library: its bytes are those of the format, and the strokes lie where they should."""

import struct
import zlib

import numpy as np

from weighbridge.reports.raster import Canvas

RED, WHITE = (255, 0, 0), (255, 255, 255)


def pixels(png: bytes) -> np.ndarray:
    """Reads what Canvas writes: one IDAT of true colour rows without a filter. Checks every checksum."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + content),)
        chunks[kind], at = content, at + 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colours, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colours, rest) == (8, 2, [0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_an_empty_canvas_is_white():
    found = pixels(Canvas(20, 10).png())
    assert found.shape == (20, 40, 3)
    assert (found == 255).all()


def test_a_line_covers_what_lies_under_it_and_nothing_else():
    canvas = Canvas(20, 10)
    canvas.line([(2, 5), (18, 5)], RED, 2)
    found = pixels(canvas.png())
    assert tuple(found[10, 20]) == RED
    assert tuple(found[4, 20]) == WHITE
    assert tuple(found[10, 1]) == WHITE


def test_a_bend_is_not_painted_twice():
    one, two = Canvas(20, 20), Canvas(20, 20)
    one.line([(2, 3), (10, 9), (18, 3)], RED)
    two.line([(18, 3), (10, 9), (2, 3)], RED)
    assert np.abs(pixels(one.png()).astype(int) - pixels(two.png())).max() <= 1


def test_a_dot_is_round():
    canvas = Canvas(20, 20)
    canvas.dot((10, 10), 4, RED)
    found = pixels(canvas.png())
    assert tuple(found[20, 20]) == RED
    assert tuple(found[20 + 7, 20 + 7]) == WHITE
    assert np.array_equal(found, found[::-1])


def test_words_begin_or_end_where_they_are_told_to():
    start, end = Canvas(80, 20), Canvas(80, 20)
    start.text((40, 12), "97.5 %", RED)
    end.text((40, 12), "97.5 %", RED, "end")
    assert (pixels(start.png())[:, :80] == 255).all()
    assert (pixels(end.png())[:, 80:] == 255).all()
    assert (pixels(start.png()) != 255).any()
    assert (pixels(end.png()) != 255).any()


def test_what_lies_outside_is_cut_off():
    canvas = Canvas(10, 10)
    canvas.line([(-5, -5), (25, 30)], RED)
    canvas.dot((9, 9), 5, RED)
    canvas.text((7, 9), "as tried", RED)
    canvas.text((3, 3), "as it was", RED, "end")
    assert pixels(canvas.png()).shape == (20, 20, 3)


def test_a_character_without_a_drawing_is_a_box():
    canvas = Canvas(10, 10)
    canvas.text((1, 9), "\u2014", RED)
    assert (pixels(canvas.png()) != 255).any()
