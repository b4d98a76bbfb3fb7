"""A drawing as PNG: the strokes lie where they should."""

import io

import numpy as np
from PIL import Image

from weighbridge.reports.raster import Canvas

RED, WHITE = (255, 0, 0), (255, 255, 255)


def pixels(canvas: Canvas) -> np.ndarray:
    """Two pixels to a unit."""
    with Image.open(io.BytesIO(canvas.png())) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_an_empty_canvas_is_white():
    found = pixels(Canvas(20, 10))
    assert found.shape == (20, 40, 3)
    assert (found == 255).all()


def test_a_line_covers_what_lies_under_it_and_nothing_else():
    canvas = Canvas(20, 10)
    canvas.line([(2, 5), (18, 5)], RED, 2)
    found = pixels(canvas)
    assert tuple(found[10, 20]) == RED
    assert tuple(found[4, 20]) == WHITE
    assert tuple(found[10, 1]) == WHITE


def test_a_dot_is_round():
    canvas = Canvas(20, 20)
    canvas.dot((10, 10), 4, RED)
    found = pixels(canvas)
    assert tuple(found[20, 20]) == RED
    assert tuple(found[20 + 7, 20 + 7]) == WHITE


def test_words_start_or_end_where_they_are_told_to():
    start, end = Canvas(160, 20), Canvas(160, 20)
    start.text((80, 15), "97.5 %", RED)
    end.text((80, 15), "97.5 %", RED, "end")
    for words, empty in (
        (pixels(start)[:, 160:], pixels(start)[:, :158]),
        (pixels(end)[:, :160], pixels(end)[:, 162:]),
    ):
        assert (words != 255).any()
        assert (empty == 255).all()


def test_what_lies_outside_is_cut_off():
    canvas = Canvas(10, 10)
    canvas.line([(-5, -5), (25, 30)], RED)
    canvas.dot((9, 9), 5, RED)
    canvas.text((7, 9), "as tried", RED)
    assert pixels(canvas).shape == (20, 20, 3)
