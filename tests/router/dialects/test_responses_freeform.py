"""Free text through JSON arguments: whatever the text, however it is cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.dialects.responses_freeform import FreeformReader, wrapped

PATCH = '*** Begin Patch\n*** Update File: a.py\n-print("é")\n+print("\\\\ \t 😀")\n*** End Patch'


def read(*fragments: str) -> str:
    reader = FreeformReader()
    return "".join([reader.read(fragment) for fragment in fragments]) + reader.end()


def cut(text: str, places: list[int]) -> list[str]:
    marks = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(marks)]


@settings(deadline=None)  # the machine may be busy
@given(text=st.text(), escaped=st.booleans(), places=st.lists(st.integers(0, 500), max_size=8))
def test_text_comes_back_however_it_is_cut(text, escaped, places):
    assert read(*cut(json.dumps({"input": text}, ensure_ascii=escaped), places)) == text
    assert read(wrapped(text)) == text


@settings(deadline=None)  # the machine may be busy
@given(
    arguments=st.text(alphabet='{}":inputu\\d83e00 \n', max_size=60), places=st.lists(st.integers(0, 60), max_size=8)
)
def test_nonsense_reads_the_same_however_it_is_cut(arguments, places):
    assert read(*cut(arguments, places)) == read(arguments)
    begun = '{"input":"' + arguments
    assert read(*cut(begun, places)) == read(begun)


def test_text_leaves_as_soon_as_it_can_be_read():
    reader = FreeformReader()
    assert reader.read('{"inp') == ""
    assert reader.read('ut": "*** Begin') == "*** Begin"
    assert reader.read(" Patch\\") == " Patch"
    assert reader.read("n\\ud83d") == "\n"
    assert reader.read('\\ude00"}') == "😀"
    assert reader.end() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (json.dumps({"patch": PATCH}), PATCH),
        (json.dumps(PATCH), PATCH),
        (PATCH, PATCH),
        (json.dumps({"why": "so", "input": PATCH}), PATCH),
        ("{}", ""),
        ("", ""),
        ('{"a": 1}', '{"a": 1}'),
        ('{"input": "a\nb"}', "a\nb"),
        ('{"input": "half', "half"),
        ('{"input": "\\ud83d"}', "\ufffd"),
        ('{"patch": "\\ud83d"}', "?"),
    ],
)
def test_other_shapes_are_understood(arguments, text):
    assert read(arguments) == text
