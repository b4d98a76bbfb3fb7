"""Between OpenAI's chat completions and Ollama's `/api/chat`, both ways. Pure: no network, no clock.

What Ollama cannot do raises Incapable, so that another upstream may; what it merely ignores is left out. The list is in
docs/upstreams.md.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from weighbridge.errors import BadRequest, Incapable
from weighbridge.units import Usage

# OpenAI's name, or a vendor's, and Ollama's.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}
_ROLES = {"developer": "system", "function": "tool"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the config says about each request to one model."""

    model: str
    context_window: int | None = None
    keep_alive: str | int | None = None
    think: bool | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def request(fields: Mapping[str, Any], settings: Settings, *, is_stream: bool) -> dict[str, Any]:
    """The body of `/api/chat` for an OpenAI chat body. Raises Incapable."""
    _refuse_what_is_missing(fields)
    think = _thinking(fields) if settings.think is None else settings.think
    wanted = {
        "model": settings.model,
        "messages": _messages(fields.get("messages") or []),
        "stream": is_stream,
        # Left to itself Ollama cuts what is too long and answers as if nothing had happened. Heeded since 0.12.6.
        "truncate": False,
        "shift": False,
        "options": _options(fields, settings),
        "tools": _tools(fields),
        "format": _format(fields.get("response_format")),
        "think": think,
        "keep_alive": settings.keep_alive if settings.keep_alive is not None else fields.get("keep_alive"),
        "logprobs": fields.get("logprobs") or None,
        "top_logprobs": fields.get("top_logprobs"),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _refuse_what_is_missing(fields: Mapping[str, Any]) -> None:
    if (fields.get("n") or 1) != 1:
        raise Incapable("Ollama gives one answer to a request: n must be 1.", param="n")
    if fields.get("functions"):
        raise Incapable("Ollama takes `tools`, not the older `functions`.", param="functions")
    modalities = fields.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise Incapable("Ollama answers in text only.", param="modalities")


def _options(fields: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    options = dict(settings.options)
    options |= {theirs: fields[ours] for ours, theirs in _OPTIONS.items() if fields.get(ours) is not None}
    stop = fields.get("stop")
    if stop:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    options |= _object(fields, "options")
    if settings.context_window is not None:
        # Last: another size than the loaded one makes Ollama load the model anew.
        options["num_ctx"] = settings.context_window
    return options


def _thinking(fields: Mapping[str, Any]) -> bool | str | None:
    think = fields.get("think")
    if isinstance(think, bool | str):
        return think
    in_template = _object(fields, "chat_template_kwargs").get("enable_thinking")
    if isinstance(in_template, bool):
        return in_template
    effort = fields.get("reasoning_effort") or _object(fields, "reasoning").get("effort")
    return _EFFORTS.get(effort) if isinstance(effort, str) else None


def _format(wanted: object) -> object:
    if not isinstance(wanted, Mapping) or wanted.get("type") in {None, "text"}:
        return None
    if wanted["type"] == "json_object":
        return "json"
    if wanted["type"] == "json_schema" and (schema := _object(_object(wanted, "json_schema"), "schema")):
        return schema
    raise Incapable("Ollama knows the response formats text, json_object and json_schema.", param="response_format")


def _tools(fields: Mapping[str, Any]) -> list[Any] | None:
    """The tools to offer. Ollama cannot be made to call one; what it is not to call is not offered."""
    tools, choice = _objects(fields.get("tools"), "tools"), fields.get("tool_choice")
    if not tools or choice == "none":
        return None
    if any(tool.get("type", "function") != "function" for tool in tools):
        raise Incapable("Ollama knows tools of type `function` only.", param="tools")
    if isinstance(choice, Mapping) and (name := _object(choice, "function").get("name")):
        return [tool for tool in tools if _object(tool, "function").get("name") == name] or tools
    return tools


def _messages(messages: Iterable[Any]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}  # of the tools called so far, by the call's id
    return [_message(message, f"messages[{at}]", names) for at, message in enumerate(messages)]


def _message(message: Mapping[str, Any], param: str, names: dict[str, str]) -> dict[str, Any]:
    role = message.get("role", "user")
    text, images = _content(message.get("content"), f"{param}.content")
    translated: dict[str, Any] = {"role": _ROLES.get(role, role), "content": text}
    if images:
        translated["images"] = images
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thinking, str):
        translated["thinking"] = thinking
    if calls := _objects(message.get("tool_calls"), f"{param}.tool_calls"):
        translated["tool_calls"] = [_call(call, f"{param}.tool_calls", names) for call in calls]
    if translated["role"] == "tool":
        id_ = message.get("tool_call_id")
        translated |= {"tool_call_id": id_} if id_ else {}
        name = message.get("name") or names.get(str(id_))
        translated |= {"tool_name": name} if name else {}
    return translated


def _call(call: Mapping[str, Any], param: str, names: dict[str, str]) -> dict[str, Any]:
    """A tool call of an earlier turn: a JSON string of arguments becomes the object that it describes."""
    function = _object(call, "function")
    name, arguments = str(function.get("name", "")), function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except json.JSONDecodeError:
            raise Incapable("Ollama takes only tool calls whose arguments are valid JSON.", param=param) from None
    if not isinstance(arguments, Mapping):
        arguments = {}
    id_ = call.get("id")
    names[str(id_)] = name
    return ({"id": id_} if id_ else {}) | {"function": {"name": name, "arguments": arguments}}


def _content(content: object, param: str) -> tuple[str, list[str]]:
    """The text and the images of a message."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), []
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        match part:
            case str(text) | {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                images.append(_image(url, param))
            case _:
                kind = part.get("type") if isinstance(part, Mapping) else None
                raise Incapable(f"Ollama takes text and images, not {str(kind)[:40]!r}.", param=param)
    return "\n".join(texts), images


def _image(url: str, param: str) -> str:
    if not url.startswith("data:"):
        # To fetch it for the client would be a request to any address that a prompt names.
        raise Incapable("Ollama takes images as data: URLs; addresses are not fetched.", param=param)
    _, marker, data = url.partition(";base64,")
    if not marker:
        raise Incapable("Ollama takes images in base64.", param=param)
    return data


def _objects(value: object, param: str) -> list[dict[str, Any]]:
    """The client's array of objects; None stands for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequest(f"`{param}` must be an array of objects.", param=param)
    return value


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object of that name in another one; an empty one where there is none."""
    value = holder.get(name)
    return value if isinstance(value, Mapping) else {}


def completion(answer: Mapping[str, Any], *, answer_id: str, created: int) -> bytes:
    """A whole answer as an OpenAI `chat.completion`."""
    said = _object(answer, "message")
    calls = _calls(said, answer_id, 0)
    message: dict[str, Any] = {"role": "assistant", "content": said.get("content") or (None if calls else "")}
    message["refusal"] = None
    if said.get("thinking"):
        message["reasoning_content"] = said["thinking"]
    if calls:
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(answer),
        "finish_reason": _finish_reason(answer, has_calls=bool(calls)),
    }
    body: dict[str, Any] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.get("model"),
        "choices": [choice],
    }
    if usage := usage_of(answer):
        body["usage"] = _usage(usage)
    return orjson.dumps(body)


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """What the last line of an answer counts, if it counts both."""
    read, written = answer.get("prompt_eval_count"), answer.get("eval_count")
    if isinstance(read, int) and isinstance(written, int):
        return Usage(read, written)
    return None


class Chunks:
    """Turns the lines of a streamed answer into OpenAI chunks.

    The one with the usage always comes: the ledger needs it, and the gateway keeps it from a client that did not ask.
    """

    def __init__(self, *, answer_id: str, created: int, wants_usage: bool) -> None:
        self._id = answer_id
        self._created = created
        self._usage = {"usage": None} if wants_usage else {}  # on all other chunks, as OpenAI has it
        self._calls = 0
        self._has_begun = False
        self.is_done = False

    def of(self, line: Mapping[str, Any]) -> list[bytes]:
        """The events for one line; the last line's end with `[DONE]`. A line that says nothing has none."""
        delta = self._delta(_object(line, "message"))
        logprobs = _logprobs(line)
        events = [self._chunk(line, delta, logprobs)] if delta or logprobs else []
        if line.get("done"):
            events += self._ending(line)
        return events

    def _delta(self, said: Mapping[str, Any]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if said.get("thinking"):
            delta["reasoning_content"] = said["thinking"]
        if said.get("content"):
            delta["content"] = said["content"]
        if calls := _calls(said, self._id, self._calls):
            self._calls += len(calls)
            delta["tool_calls"] = calls
        if delta and not self._has_begun:
            self._has_begun = True
            delta = {"role": "assistant", **delta}
        return delta

    def _ending(self, line: Mapping[str, Any]) -> list[bytes]:
        self.is_done = True
        delta = {} if self._has_begun else {"role": "assistant", "content": ""}
        reason = _finish_reason(line, has_calls=self._calls > 0)
        events = [self._chunk(line, delta, None, reason)]
        if usage := usage_of(line):
            events.append(orjson.dumps({**self._head(line), "choices": [], "usage": _usage(usage)}))
        return [*events, b"[DONE]"]

    def _chunk(
        self, line: Mapping[str, Any], delta: Mapping[str, Any], logprobs: object, finish_reason: str | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return orjson.dumps({**self._head(line), "choices": [choice], **self._usage})

    def _head(self, line: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": line.get("model"),
        }


def _calls(said: Mapping[str, Any], answer_id: str, first: int) -> list[dict[str, Any]]:
    """Tool calls counted from `first`: Ollama's own index is often 0 for all, and older ones have no id."""
    calls = (call for call in said.get("tool_calls") or () if isinstance(call, Mapping))
    return [
        {
            "index": index,
            "id": call.get("id") or f"call_{answer_id.removeprefix('chatcmpl-')}_{index}",
            "type": "function",
            "function": {
                "name": _object(call, "function").get("name"),
                "arguments": orjson.dumps(_object(call, "function").get("arguments") or {}).decode(),
            },
        }
        for index, call in enumerate(calls, start=first)
    ]


def _finish_reason(answer: Mapping[str, Any], *, has_calls: bool) -> str:
    if answer.get("done_reason") == "length":
        return "length"
    return "tool_calls" if has_calls else "stop"


def _logprobs(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    tokens = answer.get("logprobs")
    if not tokens:
        return None
    return {
        "content": [
            {**_token(token), "top_logprobs": [_token(other) for other in token.get("top_logprobs") or ()]}
            for token in tokens
        ],
        "refusal": None,
    }


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token"), "logprob": token.get("logprob"), "bytes": token.get("bytes")}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
