"""Restoring: values back in the place of their placeholders, in whole answers and in streams of every dialect. Pure.

A stream gives a text in fragments, and a placeholder may be split among them. What may be the beginning of one is held
back until the next fragment tells; where a text ends, what is held leaves before its end does.
"""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from weighbridge.preprocess.base import Undo
from weighbridge.preprocess.placeholders import Placeholders
from weighbridge.streaming import DONE
from weighbridge.upstreams.base import Stream

Event = dict[str, Any]
Channel = tuple[object, ...]  # whose fragments make up one text

_ARE_JSON = frozenset({"arguments", "partial_json"})
_ARE_CONTENT = frozenset({"content", "text"})
_NAMES = frozenset({"role", "type", "id", "name", "signature"})
_LAST = ("message_delta", "message_stop", "response.completed", "response.incomplete", "response.failed")
_SPOKEN = ("text", "thinking", "partial_json")  # what a delta of Messages may hold
# What the beginning of a placeholder, or of an escaped one, looks like in JSON.
_SIGNS = (b"<", b"u003", b"&", b"u0026", rb"\\")


class Restore(Undo):
    """Puts the values back. is_json: the answer's own text is JSON, because the request asked for it."""

    def __init__(self, placeholders: Placeholders, *, is_json: bool) -> None:
        self.placeholders = placeholders
        self.is_json = is_json

    def whole(self, answer: bytes) -> bytes:
        if not any(sign in answer for sign in _SIGNS):
            return answer
        fields = json.loads(answer)
        return json.dumps(self.restored(fields), ensure_ascii=False).encode("utf-8", "surrogatepass")

    def stream(self, stream: Stream) -> Stream:
        return _Restored(stream, _Seams(self))

    def restored(self, value: Any, key: str = "") -> Any:
        """Everything in a value of an answer, names of fields too."""
        if isinstance(value, str):
            return self.shown(value, key)
        if isinstance(value, list):
            return [self.restored(item, key) for item in value]
        if isinstance(value, dict):
            return {self.shown(k, ""): self.restored(v, k) for k, v in value.items()}
        return value

    def shown(self, text: str, key: str) -> str:
        is_json = key in _ARE_JSON or (self.is_json and key in _ARE_CONTENT)
        return self.placeholders.shown(text, is_json=is_json)


class _Restored(Stream):
    """A stream whose placeholders have their values again."""

    def __init__(self, stream: Stream, seams: "_Seams") -> None:
        self._stream = stream
        self._seams = seams
        self.headers = stream.headers
        self.content_type = stream.content_type

    async def read(self) -> list[bytes]:
        events = await self._stream.read()
        if not events:
            return self._seams.end()
        return [made for event in events for made in self._seams.take(event)]

    async def aclose(self) -> None:
        await self._stream.aclose()


@dataclass(frozen=True, slots=True)
class _Step:
    """One step to a text in a delta: the key or the place of a member, and what it is known by in every chunk."""

    at: Any
    name: object


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A piece of a text in an event.

    path: where it stands. kind: the field's name, which tells whether it is JSON. saying: an event that says only that.
    """

    channel: Channel
    text: str
    path: tuple[Any, ...]
    kind: str
    saying: Callable[[str], Event]
    is_last: bool = False


class _Seams:
    """Where fragments of texts meet. Events in, events out, never fewer; one more where held text has to leave."""

    def __init__(self, restore: Restore) -> None:
        self._restore = restore
        self._held: dict[Channel, tuple[str, _Fragment]] = {}
        self._added = 0  # events of ours, by which numbered events move
        self._number = -1

    def take(self, event: bytes) -> list[bytes]:
        if event == DONE:
            return [*self.end(), event]
        if not self._held and not self._added and not any(sign in event for sign in _SIGNS):
            return [event]
        try:
            fields = json.loads(event)
        except ValueError:
            return [event]  # the relay says what is wrong with it
        if not isinstance(fields, dict):
            return [event]
        return [_dumped(made) for made in self._made(fields)]

    def end(self) -> list[bytes]:
        """What is still held, as nothing more is to come."""
        return [_dumped(event) for event in self._flushed(())]

    def _made(self, event: Event) -> Iterator[Event]:
        fragments = list(_fragments_of(event))
        coming = {fragment.channel for fragment in fragments}
        for prefix in _ends_of(event):
            yield from self._flushed(prefix, but=coming)
        texts = [self._joined(fragment) for fragment in fragments]
        whole: Event = self._restore.restored(event)
        for fragment, text in zip(fragments, texts, strict=True):
            _put(whole, fragment.path, text)
        if isinstance(number := event.get("sequence_number"), int):
            self._number = whole["sequence_number"] = number + self._added
        yield whole

    def _joined(self, fragment: _Fragment) -> str:
        """What of a fragment, and of what was held before it, can leave now."""
        held = self._held.pop(fragment.channel, ("", fragment))[0]
        text, rest = held + fragment.text, ""
        if not fragment.is_last:
            text, rest = self._restore.placeholders.parted(text)
        if rest:
            self._held[fragment.channel] = (rest, fragment)
        return self._restore.shown(text, fragment.kind)

    def _flushed(self, prefix: Channel, but: Collection[Channel] = ()) -> Iterator[Event]:
        for channel in [c for c in self._held if c[: len(prefix)] == prefix and c not in but]:
            text, fragment = self._held.pop(channel)
            event = fragment.saying(text)
            if "sequence_number" in event:
                self._number += 1
                self._added += 1
                event["sequence_number"] = self._number
            yield event


def _fragments_of(event: Event) -> Iterator[_Fragment]:
    kind = event.get("type")
    if isinstance(event.get("choices"), list):
        for place, choice in enumerate(event["choices"]):
            if isinstance(choice, dict):
                yield from _of_choice(event, place, choice)
    elif kind == "content_block_delta" and isinstance(delta := event.get("delta"), dict):
        for key in _SPOKEN:
            if isinstance(text := delta.get(key), str):

                def spoken(text: str, key: str = key) -> Event:
                    return {**event, "delta": {**delta, key: text}}

                yield _Fragment((_name(event.get("index")), key), text, ("delta", key), key, spoken)
    elif isinstance(kind, str) and kind.endswith(".delta") and isinstance(text := event.get("delta"), str):
        channel = (_item_of(event), kind, _name(event.get("content_index")), _name(event.get("summary_index")))
        field = "arguments" if "arguments" in kind else "text" if "output_text" in kind else ""
        yield _Fragment(channel, text, ("delta",), field, lambda text: {**event, "delta": text})


def _of_choice(event: Event, place: int, choice: Event) -> Iterator[_Fragment]:
    index, is_last = choice.get("index"), bool(choice.get("finish_reason"))
    rest = {key: value for key, value in event.items() if key != "usage"}

    def chunk(said: Event) -> Event:
        return {**rest, "choices": [{"index": index, **said, "finish_reason": None}]}

    if isinstance(text := choice.get("text"), str):
        path = ("choices", place, "text")
        yield _Fragment(
            (_name(index), "text"), text, path, "text", lambda text: chunk({"text": text, "logprobs": None}), is_last
        )
    for steps, text in _spoken(choice.get("delta"), ()):

        def saying(text: str, steps: tuple[_Step, ...] = steps) -> Event:
            return chunk({"delta": _nested(steps, text)})

        path = ("choices", place, "delta", *(step.at for step in steps))
        channel = (_name(index), *(step.name for step in steps))
        yield _Fragment(channel, text, path, str(steps[-1].at), saying, is_last)


def _spoken(value: Any, steps: tuple[_Step, ...]) -> Iterator[tuple[tuple[_Step, ...], str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and key not in _NAMES:
                yield (*steps, _Step(key, key)), inner
            else:
                yield from _spoken(inner, (*steps, _Step(key, key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if isinstance(item, dict):
                yield from _spoken(item, (*steps, _Step(place, ("item", _name(item.get("index", place))))))


def _nested(steps: tuple[_Step, ...], text: str) -> Any:
    """A delta with this one text in it. Where the steps lead through a list, it has one member here."""
    made: Any = text
    for step in reversed(steps):
        made = [{"index": step.name[1], **made}] if isinstance(step.name, tuple) else {step.at: made}
    return made


def _ends_of(event: Event) -> Iterator[Channel]:
    """The beginnings of the channels that say nothing after this event."""
    kind = event.get("type")
    if isinstance(choices := event.get("choices"), list):
        ending = (choice for choice in choices if isinstance(choice, dict) and choice.get("finish_reason"))
        yield from ((_name(choice.get("index")),) for choice in ending)
    elif kind == "content_block_stop":
        yield (_name(event.get("index")),)
    elif isinstance(kind, str) and kind.startswith("response.") and kind.endswith(".done"):
        yield (_item_of(event),)
    elif kind in _LAST:
        yield ()


def _item_of(event: Event) -> object:
    return _name(event.get("output_index", event.get("item_id")))


def _name(value: object) -> object:
    """By which a channel is found again; an upstream may send anything there."""
    return value if isinstance(value, int | str | None) else json.dumps(value)


def _put(event: Any, path: tuple[Any, ...], text: str) -> None:
    """Set the text at the end of a path."""
    for step in path[:-1]:
        event = event[step]
    event[path[-1]] = text


def _dumped(event: Event) -> bytes:
    return json.dumps(event).encode()
