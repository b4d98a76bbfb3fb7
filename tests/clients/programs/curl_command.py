"""curl: what people type, and the only client that shows every byte."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from acting import Place, serve


class Refused(Exception):
    """An answer that is no 200, in the words of its body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status_code = status
        self.body = json.loads(body)
        error = self.body["error"]
        super().__init__(error["message"])
        self.code, self.param = error.get("code"), error.get("param")
        self.response = type("Response", (), {"headers": headers})


def curl(url: str, *options: str, key: str, seconds: float = 20) -> tuple[dict[str, str], bytes]:
    with tempfile.NamedTemporaryFile() as head:
        line = [
            "curl",
            "--silent",
            "--show-error",
            "--no-buffer",
            "--max-time",
            str(seconds),
            "--dump-header",
            head.name,
        ]
        done = subprocess.run(
            [*line, "--header", f"Authorization: Bearer {key}", *options, url], capture_output=True, check=False
        )
        first, *lines = Path(head.name).read_text("latin-1").replace("\r", "").strip().split("\n")
    if done.returncode:
        raise ConnectionError(f"curl: {done.stderr.decode().strip()}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if status != 200:
        raise Refused(status, headers, done.stdout)
    return headers, done.stdout


def post(place: Place, path: str, body: dict[str, Any], *options: str) -> tuple[dict[str, str], bytes]:
    data = json.dumps(body, ensure_ascii=False)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(data)
        file.flush()
        sent = ("--header", "Content-Type: application/json", "--data-binary", f"@{file.name}", *options)
        return curl(f"{place.url}{path}", *sent, key=place.key)


def events(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream that has to end well."""
    found = [line.removeprefix("data: ") for line in raw.decode().split("\n") if line.startswith("data: ")]
    parsed = [json.loads(event) for event in found if event != "[DONE]"]
    for event in parsed:
        if event.get("error"):
            raise RuntimeError(event["error"]["message"])
    return parsed


def done(raw: bytes) -> None:
    assert raw.endswith(b"data: [DONE]\n\n"), raw[-200:]


def chat(place: Place, prompt: str) -> dict[str, Any]:
    fields = {"model": place.model, "messages": [{"role": "user", "content": prompt}]}
    _, raw = post(place, "/chat/completions", fields)
    answer = json.loads(raw)
    return {
        "text": answer["choices"][0]["message"]["content"],
        "model": answer["model"],
        "finish": answer["choices"][0]["finish_reason"],
        "usage": [answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]],
    }


def stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    fields = {"model": place.model, "messages": [{"role": "user", "content": prompt}], **options}
    return send_stream(place, fields)


def send(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    headers, raw = post(place, "/chat/completions", body)
    return {"text": raw.decode(), "headers": headers}


def send_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    headers, raw = post(place, "/chat/completions", {**body, "stream": True})
    chunks = events(raw)
    done(raw)
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert "content-length" not in headers
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return {
        "text": "".join(choice["delta"].get("content") or "" for choice in choices),
        "models": sorted({chunk["model"] for chunk in chunks}),
        "ids": sorted({chunk["id"] for chunk in chunks}),
        "roles": [c["delta"]["role"] for c in choices if c["delta"].get("role")],
        "finishes": [c["finish_reason"] for c in choices if c.get("finish_reason")],
        "usages": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
        "chunks": chunks,
    }


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    _, raw = post(place, "/chat/completions", {"model": place.model, "messages": [{"role": "user", "content": parts}]})
    return {"text": json.loads(raw)["choices"][0]["message"]["content"]}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    fields = {"model": place.model, "messages": [{"role": "user", "content": prompt}], "stream": streamed}
    try:
        post(place, "/chat/completions", fields, "--max-time", "0.8")
    except ConnectionError as error:
        return {"left": "timed out" in str(error)}
    return {"left": False}


def complete(place: Place, prompt: Any, suffix: str | None = None, n: int = 1) -> dict[str, Any]:
    fields = {"model": place.model, "prompt": prompt, "n": n, **({"suffix": suffix} if suffix else {})}
    answer = json.loads(post(place, "/completions", fields)[1])
    return {
        "texts": [choice["text"] for choice in answer["choices"]],
        "indexes": [choice["index"] for choice in answer["choices"]],
    }


def complete_stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    _, raw = post(place, "/completions", {"model": place.model, "prompt": prompt, "stream": True, **options})
    done(raw)
    chunks = events(raw)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    counts = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    return {
        "text": "".join(choice["text"] for choice in choices),
        "finishes": [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        "usages": [[count["prompt_tokens"], count["completion_tokens"]] for count in counts],
    }


def embed(place: Place, texts: Any, form: str | None = None, dimensions: int | None = None) -> dict[str, Any]:
    fields = {"model": place.model, "input": texts}
    fields |= {"encoding_format": form} if form else {}
    fields |= {"dimensions": dimensions} if dimensions else {}
    answer = json.loads(post(place, "/embeddings", fields)[1])
    return {"vectors": [entry["embedding"] for entry in answer["data"]]}


def response_said(answer: dict[str, Any]) -> dict[str, Any]:
    texts = [part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return {
        "id": answer["id"],
        "text": "".join(texts),
        "model": answer["model"],
        "status": answer["status"],
        "usage": [answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]] if answer["usage"] else None,
        "calls": [
            {"id": item["call_id"], "name": item["name"], "arguments": item["arguments"]}
            for item in answer["output"]
            if item["type"] == "function_call"
        ],
        "types": [item["type"] for item in answer["output"]],
    }


def respond(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    return response_said(json.loads(post(place, "/responses", {"model": place.model, **body})[1]))


def respond_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    _, raw = post(place, "/responses", {"model": place.model, **body, "stream": True})
    found = events(raw)
    named = [line.removeprefix("event: ") for line in raw.decode().split("\n") if line.startswith("event: ")]
    assert named == [event["type"] for event in found]
    assert b"[DONE]" not in raw
    return {
        **response_said(found[-1]["response"]),
        "events": named,
        "numbers": [event["sequence_number"] for event in found],
    }


def message(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    headers = ("--header", "anthropic-version: 2023-06-01", "--header", "anthropic-beta: context-management-2025-06-27")
    extra = {"context_management": {"edits": []}, "thinking": {"type": "disabled"}}
    _, raw = post(place, "/messages?beta=true", {"model": place.model, **body, **extra}, *headers)
    return message_said(json.loads(raw))


def message_said(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": "".join(block["text"] for block in answer["content"] if block["type"] == "text"),
        "model": answer["model"],
        "stop": answer["stop_reason"],
        "usage": [answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]],
        "calls": [block for block in answer["content"] if block["type"] == "tool_use"],
    }


def count_tokens(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    _, raw = post(place, "/messages/count_tokens", {"model": place.model, **body})
    return {"tokens": json.loads(raw)["input_tokens"]}


def models(place: Place) -> dict[str, Any]:
    return {"ids": [model["id"] for model in json.loads(curl(f"{place.url}/models", key=place.key)[1])["data"]]}


def model(place: Place, name: str) -> dict[str, Any]:
    return {"id": json.loads(curl(f"{place.url}/models/{name}", key=place.key)[1])["id"]}


def moderate(place: Place, text: str) -> dict[str, Any]:
    answer = json.loads(post(place, "/moderations", {"input": text})[1])
    return {"flagged": [result["flagged"] for result in answer["results"]]}


def speak(place: Place, text: str) -> dict[str, Any]:
    headers, raw = post(place, "/audio/speech", {"model": "tts-1", "voice": "alloy", "input": text})
    assert headers["content-type"] == "audio/mpeg"
    return {"hex": raw.hex()}


def transcribe(place: Place, hex_: str) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        file.write(bytes.fromhex(hex_))
        file.flush()
        form = ("--form", f"file=@{file.name}", "--form", "model=whisper-1")
        return json.loads(curl(f"{place.url}/audio/transcriptions", *form, key=place.key)[1])


def draw(place: Place, prompt: str) -> dict[str, Any]:
    _, raw = post(place, "/images/generations", {"model": "dall-e-3", "prompt": prompt})
    picture = json.loads(raw)["data"][0]["b64_json"]
    assert base64.b64decode(picture)
    return {"base64": picture}


serve(globals())
