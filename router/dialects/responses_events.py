"""Chat chunks as the events of a Response, each at once. A whole completion is one chunk, so both tell the same."""

from collections.abc import Iterator
from typing import Any, TypeVar

from weighbridge.dialects.base import Fields
from weighbridge.dialects.responses_answer import ending, opening, status_of
from weighbridge.dialects.responses_input import text_of
from weighbridge.dialects.responses_items import CALLS, Call, Event, Item, Reasoning, Speech
from weighbridge.dialects.responses_tools import Toolbox
from weighbridge.errors import Failed

Voice = TypeVar("Voice", bound=Reasoning | Speech)


class Events:
    """One Response on its way. token: what its ids are made of. now_s: the time, for what chunks do not say."""

    def __init__(self, fields: Fields, toolbox: Toolbox, *, token: str, now_s: int) -> None:
        self._fields = fields
        self._toolbox = toolbox
        self._token = token
        self._now_s = now_s
        self._begun: dict[str, Any] = {}
        self._items: list[Item] = []
        self._voice: Reasoning | Speech | None = None  # what is being thought or said
        self._open: list[Call] = []
        self._calls: dict[int, Call] = {}
        self._finish = ""
        self._usage: object = None
        self._sequence = 0

    def whole(self, completion: Fields) -> dict[str, Any]:
        """A whole completion as a whole Response: as if it had come in one chunk."""
        choice = next(_objects(completion.get("choices")), None)
        if choice is None or not isinstance(choice.get("message"), dict):
            raise Failed("The upstream's answer holds no message.", code="upstream_malformed")
        self.take({**completion, "choices": [{**choice, "index": 0, "delta": choice["message"]}]})
        response: dict[str, Any] = self.end()[-1]["response"]
        return response

    def take(self, chunk: Fields) -> list[Event]:
        """The events that one chunk becomes."""
        events = [] if self._begun else self._begin(chunk)
        self._usage = chunk.get("usage") or self._usage
        if isinstance(chunk.get("service_tier"), str):
            self._begun = {**self._begun, "service_tier": chunk["service_tier"]}
        for choice in _objects(chunk.get("choices")):
            if choice.get("index") in (0, None):
                events += self._choice(choice)
        return self._numbered(events)

    def end(self) -> list[Event]:
        """The closing events. The last one holds the whole Response."""
        events = [] if self._begun else self._begin({})
        self._finish = self._finish or "stop"
        events += self._close_all()
        response = ending(
            self._begun,
            [item.fields for item in self._items],
            finish=self._finish,
            usage=self._usage,
            completed_at=max(self._now_s, self._begun["created_at"]),
        )
        return self._numbered([*events, {"type": f"response.{response['status']}", "response": response}])

    def _begin(self, chunk: Fields) -> list[Event]:
        created, model = chunk.get("created"), chunk.get("model")
        self._begun = opening(
            self._fields,
            response_id=f"resp_{self._token}",
            created_at=created if type(created) is int and created > 0 else self._now_s,
            model=model if isinstance(model, str) and model else str(self._fields["model"]),
        )
        return [{"type": f"response.{kind}", "response": self._begun} for kind in ("created", "in_progress")]

    def _choice(self, choice: Fields) -> Iterator[Event]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            yield from self._thought(delta)
            yield from self._said(delta, _logprobs(choice.get("logprobs")))
            for position, call in enumerate(_objects(delta.get("tool_calls"))):
                yield from self._called(call, position)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = finish
            yield from self._close_all()

    def _thought(self, delta: Fields) -> Iterator[Event]:
        text = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str) and text:
            item, events = self._turn_to(Reasoning)
            yield from [*events, *item.add(text)]

    def _said(self, delta: Fields, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        text, refusal = delta.get("content"), delta.get("refusal")
        if isinstance(text, str) and text:
            item, events = self._turn_to(Speech)
            yield from [*events, *item.say(text, logprobs)]
        if isinstance(refusal, str) and refusal:
            item, events = self._turn_to(Speech)
            yield from [*events, *item.refuse(refusal)]
        for annotation in _objects(delta.get("annotations")):
            item, events = self._turn_to(Speech)
            yield from [*events, *item.annotate(_flat(annotation))]

    def _called(self, call: Fields, position: int) -> Iterator[Event]:
        """A piece of a call. Some servers number no call, or all of them 0: then a new id is a new call."""
        index, call_id, function = call.get("index"), call.get("id"), call.get("function")
        index = index if type(index) is int else position
        function = function if isinstance(function, dict) else {}
        known = self._calls.get(index)
        if known is None or (call_id and call_id != known.call_id and function.get("name")):
            yield from self._fall_silent()
            known = self._calls[index] = self._new_call(call_id, str(function.get("name") or ""))
            yield from known.open()
        arguments = function.get("arguments")
        if arguments:
            yield from known.add(text_of(arguments))

    def _new_call(self, call_id: object, name: str) -> Call:
        tool = self._toolbox.tool(name)
        token = self._next_token()
        known_id = call_id if isinstance(call_id, str) and call_id else f"call_{token}"
        call = CALLS[tool.kind](len(self._items), token, known_id, tool)
        self._items.append(call)
        self._open.append(call)
        return call

    def _turn_to(self, kind: type[Voice]) -> tuple[Voice, list[Event]]:
        """The open item of that kind; a new one where the model was about something else."""
        if isinstance(self._voice, kind):
            return self._voice, []
        events = self._fall_silent()
        item = kind(len(self._items), self._next_token())
        self._items.append(item)
        self._voice = item
        return item, [*events, *item.open()]

    def _fall_silent(self) -> list[Event]:
        voice, self._voice = self._voice, None
        return voice.close("completed") if voice else []

    def _close_all(self) -> list[Event]:
        """Calls stay open until here: their pieces may come interleaved."""
        status = status_of(self._finish)
        events: list[Event] = []
        if status == "completed" and all(isinstance(item, Reasoning) for item in self._items):
            item, events = self._turn_to(Speech)  # an answer without words is an answer still
            events += item.begin("output_text")
        for one in (self._voice, *self._open):
            events += one.close(status) if one else []
        self._voice = None
        self._open.clear()
        return events

    def _next_token(self) -> str:
        return f"{self._token}{len(self._items):02x}"

    def _numbered(self, events: list[Event]) -> list[Event]:
        for number, event in enumerate(events, self._sequence):
            event["sequence_number"] = number
        self._sequence += len(events)
        return events


def _objects(values: object) -> Iterator[dict[str, Any]]:
    return (value for value in (values if isinstance(values, list) else ()) if isinstance(value, dict))


def _flat(annotation: Fields) -> dict[str, Any]:
    """Chat nests what an annotation says under its type."""
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, dict) else dict(annotation)


def _logprobs(logprobs: object) -> list[dict[str, Any]]:
    if not isinstance(logprobs, dict):
        return []
    known = [(one, _objects(one.get("top_logprobs"))) for one in _objects(logprobs.get("content"))]
    return [{**_logprob(one), "top_logprobs": [_logprob(other) for other in top]} for one, top in known]


def _logprob(one: Fields) -> dict[str, Any]:
    token = str(one.get("token", ""))
    return {"token": token, "bytes": one.get("bytes") or list(token.encode()), "logprob": one.get("logprob", 0.0)}
