"""A request as a chat server gets it."""

import pytest
from responding import chat_of

from weighbridge.errors import BadRequest

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def user(*parts: object) -> list[dict]:
    return [{"type": "message", "role": "user", "content": list(parts)}]


def content_of(*parts: object) -> object:
    return chat_of(input=user(*parts))["messages"][0]["content"]


def refusal_of(**fields) -> BadRequest:
    with pytest.raises(BadRequest) as refused:
        chat_of(**fields)
    return refused.value


def test_the_simplest_request():
    assert chat_of(input="Hi") == {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}


def test_text_is_one_string_which_every_server_takes():
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert content_of(*parts) == "a\nb"


def test_leading_system_messages_become_one():
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "Two."}]},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "Three."},
    ]
    assert chat_of(instructions="One.", input=items)["messages"] == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Three."},
    ]


def test_pictures_keep_their_url_and_detail():
    text = {"type": "input_text", "text": "What is this?"}
    for detail, asked in ((None, None), ("low", "low"), ("auto", "auto"), ("original", "high")):
        picture = {"type": "input_image", "image_url": PICTURE, "detail": detail}
        url = {"url": PICTURE} | ({"detail": asked} if asked else {})
        assert content_of(text, picture) == [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": url},
        ]


def test_files_and_sound_pass_as_chat_has_them():
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}
    sound = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    assert content_of(file, sound) == [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


def test_parts_that_are_chats_already_stay():
    part = {"type": "image_url", "image_url": {"url": PICTURE}}
    assert content_of(part) == [part]
    assert (
        content_of({"a": 1}, {"type": "refusal", "refusal": "No."}, {"type": "text", "text": None}) == '{"a": 1}\nNo.\n'
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "f"},
        {"type": "input_file", "file_id": "f"},
        {"type": "input_file", "file_url": "u"},
    ],
)
def test_files_that_only_openai_holds_are_refused(part):
    refused = refusal_of(input=user(part))
    assert (refused.param, refused.code) == ("input", "not_supported")


def test_what_an_assistant_said_or_refused_is_text():
    parts = [{"type": "output_text", "text": "Well.", "annotations": []}, {"type": "refusal", "refusal": "No."}]
    items = [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": parts}]
    assert chat_of(input=items)["messages"] == [{"role": "assistant", "content": "Well.\nNo."}]


def tool_messages(*outputs: object) -> list[dict]:
    calls = [{"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}"} for i in range(len(outputs))]
    results = [{"type": "function_call_output", "call_id": f"c{i}", "output": o} for i, o in enumerate(outputs)]
    return chat_of(input=[*calls, *results])["messages"][1:]


def test_results_are_text():
    texts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    contents = [message["content"] for message in tool_messages("plain", texts, [{"stdout": "x"}], None, {"k": 1})]
    assert contents == ["plain", "a\nb", '[{"stdout": "x"}]', "", '{"k": 1}']


def test_pictures_in_results_follow_from_the_user_after_the_last_result():
    picture = {"type": "input_image", "image_url": PICTURE}
    screenshot = {"type": "computer_screenshot", "image_url": PICTURE}
    first, second, shown = tool_messages([{"type": "input_text", "text": "look"}, picture], screenshot)
    assert first["content"].startswith("look\n")
    assert (first["role"], second["role"], shown["role"]) == ("tool", "tool", "user")
    assert shown["content"] == [{"type": "image_url", "image_url": {"url": PICTURE}}] * 2


def test_pictures_in_results_come_before_what_the_user_says_next():
    items = [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PICTURE}]},
        {"role": "user", "content": "And now?"},
    ]
    roles = [(m["role"], type(m["content"])) for m in chat_of(input=items)["messages"]]
    assert roles[1:] == [("tool", str), ("user", list), ("user", str)]


def test_limits_and_manners_are_put_in_chats_words():
    chat = chat_of(
        max_output_tokens=7,
        text={"format": {"type": "text"}, "verbosity": "low"},
        reasoning={"effort": "minimal", "summary": "auto"},
        top_logprobs=3,
    )
    assert chat["max_completion_tokens"] == 7
    assert chat["verbosity"] == "low"
    assert chat["reasoning_effort"] == "minimal"
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 3)
    assert "response_format" not in chat


def test_logprobs_that_are_asked_for_by_include_are_asked_for():
    chat = chat_of(include=["message.output_text.logprobs"])
    assert chat["logprobs"] is True
    assert "top_logprobs" not in chat


def test_a_schema_is_nested_as_chat_has_it():
    form = {"type": "json_schema", "name": "person", "schema": {"type": "object"}, "strict": True, "description": None}
    assert chat_of(text={"format": form})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": {"type": "object"}, "strict": True},
    }
    assert chat_of(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}


def test_a_stream_is_asked_for_its_usage():
    chat = chat_of(stream=True, stream_options={"include_obfuscation": False})
    assert (chat["stream"], chat["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in chat_of(stream=False)


def test_fields_that_chat_knows_or_nobody_knows_pass_with_their_values():
    kept = {
        "temperature": 0.1,
        "top_p": 0.9,
        "user": "u",
        "metadata": {"k": "v"},
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "top_k": 5,
        "chat_template_kwargs": {"enable_thinking": False},
        "seed": 12345678901234567890,
    }
    assert {name: value for name, value in chat_of(**kept).items() if name in kept} == kept


def test_what_only_responses_knows_is_left_out__litellm_36268():
    chat = chat_of(
        client_metadata={"x": 1},
        include=["reasoning.encrypted_content"],
        truncation="auto",
        store=True,
        background=False,
        max_tool_calls=3,
        context_management=[],
        previous_response_id=None,
        temperature=None,
    )
    assert chat.keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"conversation": "conv_1"}, "conversation", "not_supported"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "not_supported"),
        ({"background": True}, "background", "not_supported"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "not_supported"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "not_supported"),
        ({"input": [{"role": "user", "content": "x"}, {"id": "msg_1"}]}, "input[1]", "not_supported"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]", "not_supported"),
    ],
)
def test_what_needs_a_memory_is_refused_by_name(fields, param, code):
    refused = refusal_of(**fields)
    assert (refused.status, refused.param, refused.code) == (400, param, code)
