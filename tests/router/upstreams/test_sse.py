"""Events out of bytes, however they were cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weighbridge.errors import Failed
from weighbridge.upstreams.sse import MAX_EVENT_BYTES, Splitter


def read(*chunks):
    splitter = Splitter()
    found = [event for chunk in chunks for event in splitter.feed(chunk)]
    return found + splitter.flush()


def sliced(raw, cuts):
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[start:end] for start, end in pairwise(edges)]


def as_specified(raw):
    """The data of a stream's events, read line by line as the standard puts it."""
    events, data = [], []
    for line in re.split(r"\r\n|\n|\r", raw.decode().removeprefix("\N{BOM}")):
        name, _, value = line.partition(":")
        if not line:
            events.append("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
    return [event.encode() for event in events if event]


_TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_LINES = st.one_of(
    st.builds("data: {}".format, _TEXT),
    st.builds("data:{}".format, _TEXT),
    st.builds(":{}".format, _TEXT),
    st.builds("{}: {}".format, st.sampled_from(["event", "id", "retry", "Data", " data", "database"]), _TEXT),
    st.sampled_from(["data", "data:", "data: ", "", "", "", "event", "data: {}", "data: [DONE]"]),
    _TEXT,
)
_NEWLINES = st.sampled_from(["\n", "\r\n", "\r"])
_STREAMS = st.builds(
    lambda bom, lines: bom + "".join(line + newline for line, newline in lines) + "\n\n",
    st.sampled_from(["", "\N{BOM}"]),
    st.lists(st.tuples(_LINES, _NEWLINES), max_size=12),
).map(str.encode)


@given(raw=_STREAMS, cuts=st.lists(st.integers(0, 1000), max_size=30))
@example(raw=b"data: a\r\rdata: b\r\n\r\n\n\n", cuts=[8, 9, 18, 19])
def test_a_stream_is_read_as_the_standard_has_it_wherever_it_is_cut(raw, cuts):
    assert read(*sliced(raw, cuts)) == as_specified(raw)


@given(raw=_STREAMS)
def test_a_stream_is_read_byte_by_byte(raw):
    assert read(*(raw[at : at + 1] for at in range(len(raw)))) == as_specified(raw)


@given(chunks=st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_that_are_no_events_raise_nothing(chunks):
    assert read(*chunks) == read(b"".join(chunks))


def test_a_character_cut_in_two_is_one_again():
    raw = 'data: {"content":"größe 🙂"}\n\n'.encode()
    for cut in range(len(raw)):
        assert read(raw[:cut], raw[cut:]) == [raw[6:-2]]


def test_events_leave_with_the_read_that_completes_them():
    splitter = Splitter()
    assert splitter.feed(b": ping\n\ndata: a\n\ndata: b\n\nda") == [b"a", b"b"]
    assert splitter.feed(b"ta: c") == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\n") == [b"c"]
    assert splitter.feed(b"data: d\r\n\r\n") == [b"d"]
    assert splitter.feed(b"data: \n\n") == []
    # Only a line feed could still belong to the last of these, and then there is none.
    assert splitter.feed(b"data: e\r\r") == []
    assert splitter.feed(b"data: f") == [b"e"]


def test_several_data_lines_are_one_event():
    assert Splitter().feed(b"event: x\ndata: a\nid: 7\ndata:\ndata: b\n\n") == [b"a\n\nb"]


@pytest.mark.parametrize("last", [b'{"a":1}', b"[DONE]"])
@pytest.mark.parametrize("newline", [b"", b"\n", b"\r", b"\r\n"])
def test_a_last_event_without_its_blank_line_is_not_lost(last, newline):
    splitter = Splitter()
    assert splitter.feed(b"data: a\n\ndata: " + last + newline) == [b"a"]
    assert splitter.flush() == [last]
    assert splitter.flush() == []


@pytest.mark.parametrize("rest", [b'data: {"choices":[{"delta":{"cont', b"data: [DO", b": ping", b"dat", b"event: x\n"])
def test_an_event_that_was_cut_is_none(rest):
    assert read(b"data: a\n\n" + rest) == [b"a"]


def test_a_byte_order_mark_is_passed_over():
    assert read(b"\xef", b"\xbb\xbfdata: a\n\n") == [b"a"]


def test_an_event_without_an_end_is_refused_before_it_fills_the_memory():
    splitter = Splitter()
    splitter.feed(b"x" * MAX_EVENT_BYTES)
    with pytest.raises(Failed):
        splitter.feed(b"x")


def test_an_event_as_large_as_a_picture_comes_whole():
    data = b'{"image":"' + b"A" * (MAX_EVENT_BYTES - 20) + b'"}'
    raw = b"data: " + data + b"\n\n"
    assert read(*(raw[at : at + 65536] for at in range(0, len(raw), 65536))) == [data]
