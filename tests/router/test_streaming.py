"""Chunks on their way: what the client sees, and what the ledger learns."""

import json

import pytest

from weighbridge.errors import Cut, Failed
from weighbridge.streaming import ChoiceRelay
from weighbridge.units import Usage


def chunk(content: str = "hi", finish: str | None = None, **fields) -> bytes:
    return json.dumps({"choices": [{"delta": {"content": content}, "finish_reason": finish}], **fields}).encode()


USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def test_chunks_pass_as_they_are():
    relay = ChoiceRelay(hide_usage=False)
    assert relay.take([chunk("a"), chunk("b")]) == b"data: " + chunk("a") + b"\n\ndata: " + chunk("b") + b"\n\n"
    assert (relay.chunks, relay.is_finished, relay.is_done, relay.usage) == (2, False, False, None)


def test_a_whole_answer_ends_with_done():
    relay = ChoiceRelay(hide_usage=True)
    relay.take([chunk("a"), chunk("", "stop")])
    assert relay.is_finished
    assert relay.take([b"[DONE]"]) == b""
    assert relay.is_done
    assert relay.end() == b"data: [DONE]\n\n"


@pytest.mark.parametrize("finish", [b'"finish_reason":null', b'"finish_reason": null'])
def test_an_answer_without_a_finish_reason_is_cut(finish):
    relay = ChoiceRelay(hide_usage=True)
    relay.take([b'{"choices":[{"delta":{},' + finish + b"}]}"])
    with pytest.raises(Cut):
        relay.end()


def test_a_usage_chunk_that_only_we_asked_for_is_taken_out():
    relay = ChoiceRelay(hide_usage=True)
    assert relay.take([json.dumps({"choices": [], "usage": USAGE}).encode()]) == b""
    assert relay.usage == Usage(3, 4)
    assert relay.chunks == 0


def test_a_null_usage_that_only_we_asked_for_is_taken_out():
    shown = ChoiceRelay(hide_usage=True).take([chunk(usage=None)])
    assert b"usage" not in shown
    assert json.loads(shown[6:]) == json.loads(chunk())


def test_usage_that_the_client_asked_for_stays():
    relay = ChoiceRelay(hide_usage=False)
    event = json.dumps({"choices": [], "usage": USAGE}).encode()
    assert relay.take([event]) == b"data: " + event + b"\n\n"
    assert relay.usage == Usage(3, 4)


def test_usage_on_the_last_content_chunk_is_read_and_the_content_stays():
    relay = ChoiceRelay(hide_usage=True)
    assert b"bye" in relay.take([chunk("bye", "stop", usage=USAGE)])
    assert relay.usage == Usage(3, 4)


def test_words_of_the_answer_are_never_taken_for_keys():
    relay = ChoiceRelay(hide_usage=True)
    text = '{"error": {"message": "x"}, "usage": null, "finish_reason": "stop"}'
    assert relay.take([chunk(text)]) == b"data: " + chunk(text) + b"\n\n"
    assert not relay.is_finished


@pytest.mark.parametrize("event", [b'{"error":{"message":"boom"}}', b'{"error":"boom"}', b'{"error": null, "x": 1}'])
def test_an_error_event_raises(event):
    with pytest.raises(Failed):
        ChoiceRelay(hide_usage=True).take([event])


def test_an_event_of_several_lines_stays_one_event():
    assert ChoiceRelay(hide_usage=True).take([b'{"choices":\n[]}']) == b'data: {"choices":\ndata: []}\n\n'


@pytest.mark.parametrize("garbled", [b"{", b"[]", b"\xff", b'{"choices": NaN}', b"7"])
def test_a_few_garbled_chunks_are_left_out_and_more_are_an_error(garbled):
    relay = ChoiceRelay(hide_usage=True)
    assert relay.take([garbled, chunk("a"), garbled, garbled]) == b"data: " + chunk("a") + b"\n\n"
    with pytest.raises(Failed) as failed:
        relay.take([garbled])
    assert failed.value.code == "upstream_malformed"


def test_an_error_beside_choices_is_an_error_too():
    relay = ChoiceRelay(hide_usage=True)
    with pytest.raises(Failed, match="overloaded"):
        relay.take([chunk("", "error", error={"message": "overloaded", "code": 502})])


def test_no_error_is_no_error():
    assert ChoiceRelay(hide_usage=True).take([chunk("a", error=None)])
