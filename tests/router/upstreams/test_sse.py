"""Events out of bytes, however they were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import Failed
from weighbridge.upstreams.sse import Splitter

_DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1).map(str.encode)


@given(
    events=st.lists(_DATA, max_size=5),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    space=st.sampled_from([b"", b" "]),
    comments=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_the_same_events_come_out_wherever_the_bytes_are_cut(events, newline, space, comments, cuts):
    between = newline * 2 + (b": ping" + newline * 2 if comments else b"")
    # A value that itself begins with a space needs the space that the format takes away.
    raw = b"".join(b"data:" + (b" " if e.startswith(b" ") else space) + e + between for e in events)
    splitter = Splitter()
    found, at = [], 0
    for cut in [*sorted(min(c, len(raw)) for c in cuts), len(raw)]:
        found += splitter.feed(raw[at:cut])
        at = cut
    assert found + splitter.flush() == events


def test_several_data_lines_are_one_event():
    assert Splitter().feed(b"event: x\ndata: a\nid: 7\ndata: b\n\n") == [b"a\nb"]


def test_a_last_event_without_its_blank_line_is_not_lost():
    splitter = Splitter()
    assert splitter.feed(b"data: a\n\ndata: b\n") == [b"a"]
    assert splitter.flush() == [b"b"]
    assert splitter.flush() == []


def test_a_byte_order_mark_is_passed_over():
    assert Splitter().feed(b"\xef\xbb\xbfdata: a\n\n") == [b"a"]


def test_an_event_without_an_end_is_refused_before_it_fills_the_memory():
    splitter = Splitter()
    for _ in range(10):
        splitter.feed(b"x" * 100_000)
    with pytest.raises(Failed):
        splitter.feed(b"x" * 100_000)
