"""The Response object: complete, honest about how it ended, and its usage never counted anew."""

import pytest
from responding import NOW_S, assert_valid_response, response_of, said, translation
from scripted import completion_body

from weighbridge.dialects.responses_answer import response_usage
from weighbridge.errors import Failed

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


def answer_to(completion: dict, **fields) -> dict:
    response = translation(**fields).answer(completion)
    assert_valid_response(response)
    return response


def with_message(finish: str | None = "stop", **message) -> dict:
    body = completion_body("small-1", "", (3, 4))
    body["choices"] = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]
    return body


def test_a_whole_answer():
    response = answer_to(completion_body("small-1", "Paris.", (3, 4)))
    assert (response["id"], response["object"], response["status"]) == ("resp_t", "response", "completed")
    assert (response["model"], response["created_at"]) == ("small-1", 1_700_000_000)
    assert response["completed_at"] == NOW_S
    assert response["output"] == [
        {
            "id": "msg_t00",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Paris.", "annotations": [], "logprobs": []}],
        }
    ]
    assert (response["error"], response["incomplete_details"], response["previous_response_id"]) == (None, None, None)


def test_the_request_is_echoed():
    fields = {
        "instructions": "Be brief.",
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
        "temperature": 0.1,
        "top_p": 0.9,
        "max_output_tokens": 50,
        "parallel_tool_calls": False,
        "metadata": {"k": "v"},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "user": "u",
        "truncation": "auto",
    }
    response = answer_to(with_message(content="x"), **fields, text={"verbosity": "low"}, reasoning={"effort": "low"})
    assert {name: response[name] for name in fields} == fields
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["store"] is False


def test_what_the_request_leaves_open_stands_as_openai_has_it():
    response = answer_to(with_message(content="x"), tools=None, metadata=None)
    assert (response["tools"], response["tool_choice"], response["metadata"]) == ([], "auto", {})
    assert response["text"] == {"format": {"type": "text"}}
    assert response["service_tier"] == "auto"


def test_the_service_tier_is_the_one_that_served():
    assert (
        answer_to(with_message(content="x") | {"service_tier": "default"}, service_tier="flex")["service_tier"]
        == "default"
    )


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_short_is_incomplete(finish, reason):
    response = answer_to(with_message(finish, content="Par"))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["completed_at"] is None
    assert response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "eos", None])
def test_any_other_end_is_an_end(finish):
    assert answer_to(with_message(finish, content="x"))["status"] == "completed"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_the_model_thought_comes_first__litellm_20246(name):
    thought, message = answer_to(with_message(content="Paris.", **{name: "France, so"}))["output"]
    assert (thought["type"], thought["summary"]) == ("reasoning", [{"type": "summary_text", "text": "France, so"}])
    assert message["type"] == "message"


def test_a_refusal_is_a_part_of_its_own():
    output = answer_to(with_message(content=None, refusal="I will not."))["output"]
    assert output[0]["content"] == [{"type": "refusal", "refusal": "I will not."}]


def test_calls_are_items_even_where_the_server_forgets_to_name_them():
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        {"id": "", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lyon"}}},
        {"id": "", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    output = answer_to(with_message("tool_calls", content=None, tool_calls=calls), tools=[WEATHER])["output"]
    assert [item["type"] for item in output] == ["function_call"] * 3
    assert [item["arguments"] for item in output] == ['{"city": "Paris"}', '{"city": "Lyon"}', "{}"]
    assert output[0]["call_id"] == "call_1"
    assert len({item["call_id"] for item in output}) == len({item["id"] for item in output}) == 3


def test_sources_are_annotations():
    source = {"url": "https://example.org", "title": "E", "start_index": 0, "end_index": 1}
    message = with_message(content="x", annotations=[{"type": "url_citation", "url_citation": source}])
    part = answer_to(message)["output"][0]["content"][0]
    assert part["annotations"] == [{"type": "url_citation", **source}]


def test_logprobs_are_kept_with_their_bytes():
    body = with_message(content="Hi")
    body["choices"][0]["logprobs"] = {
        "content": [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "é", "logprob": -2}]}]
    }
    part = answer_to(body, top_logprobs=1)["output"][0]["content"][0]
    assert part["logprobs"] == [
        {
            "token": "Hi",
            "bytes": [72, 105],
            "logprob": -0.5,
            "top_logprobs": [{"token": "é", "bytes": [195, 169], "logprob": -2}],
        }
    ]


@pytest.mark.parametrize("choices", [[], [None], [{"index": 0}], [{"message": "x"}]])
def test_an_answer_without_a_message_is_no_answer(choices):
    with pytest.raises(Failed):
        translation().answer(completion_body("m", "x", None) | {"choices": choices})


def test_usage_is_the_upstreams():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert response_usage(usage) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": -1}, {"prompt_tokens": True}, {"prompt_tokens": "3"}, []]
)
def test_usage_that_makes_no_sense_is_none(usage):
    assert response_usage(usage) is None
    assert response_of([said({"content": "x"}, "stop", usage=usage)])["usage"] is None


def test_zero_stays_zero():
    assert response_usage({"prompt_tokens": 0, "completion_tokens": 0})["total_tokens"] == 0
