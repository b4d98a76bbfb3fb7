"""The scripted server satisfies OpenAI's own client: what it says about the gateway can be believed."""

import json
from urllib.request import Request, urlopen

import openai
import pytest
from scripted import SENTENCE, ScriptedUpstream
from serving import PICTURE, SPEECH, calling, form, serving

ASK = [{"role": "user", "content": "hello"}]
MODEL = "org/small:1"


@pytest.fixture(scope="module")
def upstream():
    with ScriptedUpstream() as upstream:
        yield upstream.always(serving(MODEL, key="sk-test"))


@pytest.fixture(scope="module")
def client(upstream):
    with openai.OpenAI(base_url=upstream.url, api_key="sk-test", max_retries=0) as client:
        yield client


def test_chat_whole_and_streamed(client):
    assert client.chat.completions.create(model=MODEL, messages=ASK).choices[0].message.content == SENTENCE
    with client.chat.completions.stream(model=MODEL, messages=ASK, stream_options={"include_usage": True}) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == SENTENCE
    assert final.usage.total_tokens == 29


@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_calls_whole_and_in_pieces(upstream, client, is_stream):
    upstream.then(calling(("weather", {"city": "Oslo"}), ("time", {})))
    if is_stream:
        with client.chat.completions.stream(model=MODEL, messages=ASK) as stream:
            answer = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(model=MODEL, messages=ASK)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    found = [(call.function.name, call.function.arguments) for call in calls]
    assert found == [("weather", '{"city": "Oslo"}'), ("time", "{}")]
    assert len({call.id for call in calls}) == 2


def test_completions_of_several_prompts(client):
    answer = client.completions.create(model=MODEL, prompt=["a", "b"], n=2)
    assert [(c.index, c.text) for c in answer.choices] == [(at, SENTENCE) for at in range(4)]
    assert len(client.completions.create(model=MODEL, prompt=[1, 2, 3]).choices) == 1
    chunks = list(
        client.completions.create(model=MODEL, prompt="a", stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.text for chunk in chunks for c in chunk.choices).strip() == SENTENCE
    assert chunks[-1].usage.total_tokens == 29


def test_embeddings_as_numbers_and_as_base64(client):
    plain = client.embeddings.create(model=MODEL, input=["a", "b"], dimensions=5, encoding_format="float")
    packed = client.embeddings.create(model=MODEL, input=["a", "b"], dimensions=5)
    assert [e.embedding for e in plain.data] == [e.embedding for e in packed.data]
    assert len(client.embeddings.create(model=MODEL, input=[1, 2, 3]).data) == 1
    assert len(client.embeddings.create(model=MODEL, input=[[1, 2], [3]]).data) == 2


def test_responses_are_kept_found_and_deleted(client):
    with client.responses.stream(model=MODEL, input="hello") as stream:
        first = stream.get_final_response()
    assert first.output_text == SENTENCE
    second = client.responses.create(model=MODEL, input="on", previous_response_id=first.id)
    assert client.responses.retrieve(second.id).previous_response_id == first.id
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(model=MODEL, input="on", previous_response_id=second.id)


def test_sound_pictures_and_moderation(upstream, client):
    assert client.audio.speech.create(model=MODEL, voice="alloy", input="a").content == SPEECH
    heard = client.audio.transcriptions.create(model=MODEL, file=("a.mp3", SPEECH, "audio/mpeg"))
    assert heard.text == f"{len(SPEECH)} bytes of sound"
    assert form(upstream.seen[-1])["file"] == SPEECH
    (picture,) = client.images.generate(model=MODEL, prompt="a").data
    assert picture.b64_json.startswith("iVBORw0KGgo")
    assert len(PICTURE) == 264
    assert [r.flagged for r in client.moderations.create(input=["a", "b"]).results] == [False, False]


def test_models_are_listed_and_found(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_what_openai_refuses_is_refused(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="other", messages=ASK)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="at the same time"):
        client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=1, max_completion_tokens=1)
    with pytest.raises(openai.BadRequestError, match="only allowed when"):
        client.chat.completions.create(model=MODEL, messages=ASK, extra_body={"stream_options": {}})
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-other").models.list()
    with pytest.raises(openai.NotFoundError):
        client.batches.list()


def test_messages_speak_anthropics_language(upstream):
    body = {"model": MODEL, "messages": ASK, "max_tokens": 9, "stream": True}
    headers = {"authorization": "Bearer sk-test", "X-Api-Key": "k", "content-type": "application/json"}
    url = f"{upstream.url}/messages?beta=true"
    with urlopen(Request(url, json.dumps(body).encode(), headers)) as answer:  # noqa: S310
        names = [line[7:].strip().decode() for line in answer if line.startswith(b"event: ")]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert b"X-Api-Key: k\r\n" in upstream.seen[-1].head
