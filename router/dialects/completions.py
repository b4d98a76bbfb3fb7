"""`/v1/completions`: the older language, of prompts and plain text, which editors still speak."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from weighbridge.dialects.base import Dialect, Fields, Translation, expect, expect_at_least_one, expect_model
from weighbridge.dialects.chat import CHAT, check_stream_options, usage_asked, wants_usage
from weighbridge.dialects.messages_answer import words_of
from weighbridge.errors import BadRequest
from weighbridge.streaming import ChoiceRelay, Relay
from weighbridge.units import Usage

DEFAULT_MAX_TOKENS = 16  # the API's own

# What has no meaning in chat, or another one.
_NOT_OF_CHAT = frozenset({"prompt", "suffix", "echo", "best_of", "logprobs"})


class Completions(Dialect):
    """OpenAI's text completions."""

    path: ClassVar[str] = "/completions"
    is_chat: ClassVar[bool] = False  # a text goes on, nobody is answered

    def check(self, fields: Fields) -> None:
        expect_model(fields)
        if kind_of(fields.get("prompt")) is None:
            raise BadRequest(
                "`prompt` must be a string, an array of strings, an array of tokens, or an array of such arrays.",
                param="prompt",
            )
        for name in ("stream", "echo"):
            expect(fields, name, bool, "true or false")
        expect(fields, "suffix", str, "a string")
        expect_at_least_one(fields, "n", "best_of")
        expect(fields, "max_tokens", int, "a whole number")
        if (fields.get("max_tokens") or 0) < 0:  # 0 asks for the prompt's own probabilities
            raise BadRequest("`max_tokens` must not be negative.", param="max_tokens")
        check_stream_options(fields)

    def messages(self, fields: Fields) -> Sequence[dict[str, Any]]:
        prompt = fields["prompt"]
        last = prompt[-1] if isinstance(prompt, list) else prompt
        return [{"role": "user", "content": last if isinstance(last, str) else ""}]

    def output_limit(self, fields: Fields) -> int:
        limit = fields.get("max_tokens")
        return DEFAULT_MAX_TOKENS if limit is None else int(limit)

    def choices(self, fields: Fields) -> int:
        prompts = len(fields["prompt"]) if kind_of(fields["prompt"]) in {"texts", "token arrays"} else 1
        return prompts * max(fields.get("n") or 1, fields.get("best_of") or 1)

    def wants_json_schema(self, fields: Fields) -> bool:
        return CHAT.wants_json_schema(fields)  # vLLM takes the field here too

    def is_answer(self, answer: Fields) -> bool:
        return CHAT.is_answer(answer)

    def usage_of(self, answer: Fields) -> Usage | None:
        return CHAT.usage_of(answer)

    def relay(self, fields: Fields) -> Relay:
        return ChoiceRelay(hide_usage=not wants_usage(fields))

    def stream_changes(self, fields: Fields) -> dict[str, Any]:
        return usage_asked(fields)

    def translation(self, fields: Fields) -> Translation:
        return _ThroughChat(fields)


COMPLETIONS = Completions()


def kind_of(prompt: object) -> str | None:
    """What the value of `prompt` or `input` is: a text, texts, tokens or token arrays. None: nothing that is known."""
    if isinstance(prompt, str):
        return "text"
    if not isinstance(prompt, list) or not prompt:
        return None
    if all(isinstance(item, str) for item in prompt):
        return "texts"
    if _are_tokens(prompt):
        return "tokens"
    if all(isinstance(item, list) and item and _are_tokens(item) for item in prompt):
        return "token arrays"
    return None


def _are_tokens(items: list[Any]) -> bool:
    return all(type(item) is int for item in items)


class _ThroughChat(Translation):
    """One prompt as one user message."""

    def __init__(self, fields: Fields) -> None:
        prompt = fields["prompt"]
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise _beyond("prompt", "more than one prompt, or tokens")
        if fields.get("suffix"):
            raise _beyond("suffix", "a text to fill up before its end")
        if fields.get("echo"):
            raise _beyond("echo", "an answer that repeats its prompt")
        if fields.get("logprobs") is not None:
            raise _beyond("logprobs", "probabilities of plain text")
        if (fields.get("best_of") or 1) > (fields.get("n") or 1):
            raise _beyond("best_of", "a choice among answers")
        if fields.get("max_tokens") == 0:
            raise _beyond("max_tokens", "an answer of no tokens")
        rest = {name: value for name, value in fields.items() if name not in _NOT_OF_CHAT}
        limit = {"max_tokens": DEFAULT_MAX_TOKENS} if rest.get("max_tokens") is None else {}
        self.chat = {**rest, **limit, "messages": [{"role": "user", "content": prompt}]}

    def answer(self, completion: Fields) -> dict[str, Any]:
        return _as_text(completion, "message")

    def events(self, chunk: Fields) -> list[dict[str, Any]]:
        event = _as_text(chunk, "delta")
        # A chunk that only says who speaks has no counterpart here.
        says_something = any(choice["text"] or choice["finish_reason"] for choice in event["choices"])
        return [event] if says_something or event.get("usage") else []

    def end(self) -> list[dict[str, Any]]:
        return []


def _as_text(answer: Fields, part: str) -> dict[str, Any]:
    """A chat completion or a chunk of one, its usage as the upstream counts it."""
    own_id, choices = answer.get("id"), answer.get("choices")
    text: dict[str, Any] = {
        "id": f"cmpl-{own_id.removeprefix('chatcmpl-') if isinstance(own_id, str) else ''}",
        "object": "text_completion",
        "created": answer.get("created") or 0,
        "model": answer.get("model"),
        "choices": [
            _choice(choice, part)
            for choice in (choices if isinstance(choices, list) else ())
            if isinstance(choice, Mapping)
        ],
    }
    return text | {name: answer[name] for name in ("system_fingerprint", "usage") if name in answer}


def _choice(choice: Mapping[str, Any], part: str) -> dict[str, Any]:
    said = choice.get(part)
    reason = choice.get("finish_reason")
    return {
        "text": words_of(said) if isinstance(said, Mapping) else "",
        "index": choice.get("index") or 0,
        "logprobs": None,
        "finish_reason": reason if reason in (None, "length", "content_filter") else "stop",
    }


def _beyond(param: str, what: str) -> BadRequest:
    message = f"The upstream has only chat completions, which know no {what}: `{param}` cannot be heeded."
    return BadRequest(message, param=param, code="not_supported")
