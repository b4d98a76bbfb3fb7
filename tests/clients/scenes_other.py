"""Text completions, embeddings, models, and what passes to the byte."""

import base64

from scripted import SENTENCE
from serving import PICTURE, SPEECH
from stage import LARGE, SMALL, Stage, scene

COMPLETIONS = "Text completions"
EMBEDDINGS = "Embeddings"
MODELS = "Models"
REST = "Moderations, audio, pictures"


@scene(COMPLETIONS, "whole, with a suffix")
def complete_whole(stage: Stage) -> None:
    said = stage.act("complete", prompt="def f(", suffix="return x")
    assert said["texts"] == [SENTENCE]
    assert said.get("usage", [12, 17]) == [12, 17]
    assert stage.local.chats[0].path == "/v1/completions"
    assert stage.local.chats[0].json["suffix"] == "return x"


@scene(COMPLETIONS, "several prompts and choices")
def complete_many(stage: Stage) -> None:
    said = stage.act("complete", prompt=["one", "two"], n=2)
    assert said["texts"] == [SENTENCE] * 4
    assert said["indexes"] == [0, 1, 2, 3]


@scene(COMPLETIONS, "stream, without a usage chunk that nobody asked for", "litellm#8349: a chunk with `text: null`")
def complete_streamed(stage: Stage) -> None:
    said = stage.act("complete_stream", prompt="Once upon")
    assert said["text"].strip() == SENTENCE
    assert said["finishes"] == ["stop"]
    assert said["usages"] == []


@scene(COMPLETIONS, "stream, with its usage", "litellm#8349: a chunk with `text: null`")
def complete_stream_usage(stage: Stage) -> None:
    said = stage.act("complete_stream", prompt="Once upon", usage=True)
    assert said["text"].strip() == SENTENCE
    assert said["usages"] == [[12, 17]]


@scene(COMPLETIONS, "at a server that has only chat")
def complete_through_chat(stage: Stage) -> None:
    stage.only_chat()
    assert stage.act("complete", prompt="Once upon")["texts"] == [SENTENCE]
    assert stage.act("complete_stream", prompt="Once upon", usage=True)["text"].strip() == SENTENCE
    assert {seen.path for seen in stage.local.chats} == {"/v1/chat/completions"}


@scene(EMBEDDINGS, "as the client asks for them by default", "litellm#42426, agent-zero#1429, cherry-studio#14111")
def embed_default(stage: Stage) -> None:
    stage.model = LARGE
    said = stage.act("embed", texts=["one", "two"])
    assert [len(vector) for vector in said["vectors"]] == [8, 8]
    assert said["vectors"][0] != said["vectors"][1]
    assert stage.remote.chats[0].json["model"] == LARGE
    assert not stage.local.chats


@scene(EMBEDDINGS, "floats and base64 are the same vectors, of the size asked for", "litellm#42426, lmstudio#756")
def embed_forms(stage: Stage) -> None:
    stage.model = LARGE
    floats = stage.act("embed", texts=["one"], form="float", dimensions=4)["vectors"][0]
    packed = stage.act("embed", texts=["one"], form="base64", dimensions=4)["vectors"][0]
    assert len(floats) == 4
    if isinstance(packed, str):
        assert len(base64.b64decode(packed)) == 16
    else:
        assert [round(x, 5) for x in packed] == [round(x, 5) for x in floats]
    assert [seen.json["encoding_format"] for seen in stage.remote.chats] == ["float", "base64"]
    assert [seen.json["dimensions"] for seen in stage.remote.chats] == [4, 4]


@scene(EMBEDDINGS, "tokens instead of text", "litellm#19174")
def embed_tokens(stage: Stage) -> None:
    stage.model = LARGE
    said = stage.act("embed", texts=[[1, 2, 3], [4, 5]], form="float")
    assert len(said["vectors"]) == 2
    assert stage.remote.chats[0].json["input"] == [[1, 2, 3], [4, 5]]


@scene(EMBEDDINGS, "of a model that nobody serves: 404")
def embed_unknown(stage: Stage) -> None:
    stage.model = "nobody"
    raised = stage.fails("embed", texts=["one"])
    assert raised.status in (404, None)
    assert raised.code in ("model_not_found", None)


@scene(MODELS, "the list: routes first, then upstreams", "bolt.diy#1789, open-webui#4348")
def model_list(stage: Stage) -> None:
    ids = stage.act("models")["ids"]
    assert ids[0] == "auto"
    assert {SMALL, LARGE} & set(ids) or {"local", "remote"} <= set(ids)


@scene(MODELS, "one of them, with `/` and `:` in its name")
def one_model(stage: Stage) -> None:
    for name in ("auto", SMALL, LARGE):
        assert stage.act("model", name=name)["id"].lower() == name


@scene(MODELS, "one that is not there: 404 `model_not_found`", "LiteLLM answers with `detail`")
def no_model(stage: Stage) -> None:
    raised = stage.fails("model", name="acme/nobody:7b")
    assert raised.status in (404, None)
    assert raised.code in ("model_not_found", None)


@scene(REST, "moderations, without a model", "LiteLLM: 500 without `model`")
def moderations(stage: Stage) -> None:
    assert stage.act("moderate", text="hello")["flagged"] == [False]


@scene(REST, "speech comes back to the byte")
def speech(stage: Stage) -> None:
    assert bytes.fromhex(stage.act("speak", text="hello")["hex"]) == SPEECH


@scene(REST, "an upload arrives to the byte")
def transcription(stage: Stage) -> None:
    said = stage.act("transcribe", hex_=SPEECH.hex())
    assert said["text"] == f"{len(SPEECH)} bytes of sound"
    assert SPEECH in stage.seen[0].body


@scene(REST, "pictures")
def pictures(stage: Stage) -> None:
    assert base64.b64decode(stage.act("draw", prompt="a bridge")["base64"]) == PICTURE
