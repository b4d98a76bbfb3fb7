"""The same ask for one more draft."""

import json

import pytest

from weighbridge.drafts.again import TEMPERATURE, again, is_one
from weighbridge.wire import parse


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({}, {"stream": True}),
        ({"stream": False}, {"stream": True}),
        ({"temperature": 0}, {"stream": True, "temperature": TEMPERATURE}),
        ({"temperature": 0.3}, {"stream": True}),
        ({"seed": 7}, {"stream": True, "seed": 9}),
        ({"seed": None, "temperature": None}, {"stream": True}),
    ],
)
def test_only_what_keeps_a_draft_from_coming_out_otherwise_is_changed(asked, changed):
    body = parse(json.dumps({"messages": [{"role": "user", "content": "x"}], **asked}).encode())
    made = again(body, 2)
    assert made.fields == {**body.fields, **changed} == json.loads(made.text)


def test_a_stream_that_is_sampled_anyway_is_asked_for_as_it_stands():
    body = parse(b'{"messages": [], "stream": true, "temperature": 1.00}')
    assert again(body, 1) is body


def test_several_choices_are_no_single_answer():
    assert [is_one(parse(text.encode())) for text in ('{"n": 1}', "{}", '{"n": null}', '{"n": 2}')] == [
        True,
        True,
        True,
        False,
    ]
