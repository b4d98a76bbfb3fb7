"""What whole families of models do not know: a system role, tools, chat itself. A request is put so that they know it.

Where it cannot be, nothing of it is dropped: it is refused, so that another upstream may. Known families have their
quirks from the catalogue, by the model's name; some are learnt from a server's refusal.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from weighbridge.catalogue.entries import catalogue, found
from weighbridge.errors import Incapable, Refused
from weighbridge.upstreams.splicing import spliced
from weighbridge.wire import Body

Message = Mapping[str, Any]


class Quirk(StrEnum):
    """By the name that stands in config.toml, and in the catalogue."""

    NO_SYSTEM_ROLE = "no_system_role"  # its text goes to the head of the user message after it
    NO_TOOLS = "no_tools"  # requests with tools go elsewhere
    COMPLETIONS_ONLY = "completions_only"  # no chat template: asked with one text, through /completions where it can be
    ENCODER_DECODER = "encoder_decoder"  # reads one text: conversations go elsewhere
    TASK_PREFIX = "task_prefix"  # knows tasks by the words before the text, such as "summarize: "


_SYSTEM = frozenset({"system", "developer"})
_CHATLESS = frozenset({Quirk.COMPLETIONS_ONLY, Quirk.ENCODER_DECODER})

_NO_SYSTEM = re.compile(r"\bsystem role (?:is )?not supported|does not support (?:the )?system\b", re.IGNORECASE)
# vLLM without a parser of calls, llama.cpp without --jinja, and templates.
_NO_TOOLS = re.compile(r"does not support tools|requires --enable-auto-tool-choice|tools param requires", re.IGNORECASE)
_NO_CHAT = re.compile(
    r"\bchat[_ ]template\b.{0,80}\b(?:not set|no longer allowed|must provide|not defined)", re.IGNORECASE
)


def quirks_of(model: str) -> frozenset[Quirk]:
    """What the catalogue says of a model; nothing of one that it does not know."""
    known = found(model, catalogue())
    said = known.quirks.value if known and known.quirks else ()
    return frozenset(Quirk(quirk) for quirk in said if quirk in set(Quirk))


def quirk_of(refusal: Refused, fields: Mapping[str, Any]) -> Quirk | None:
    """What this refusal of a request with these fields says that the model does not know."""
    if refusal.status not in {400, 422} or refusal.code == "context_length_exceeded":
        return None
    if _NO_SYSTEM.search(refusal.message) and any(m.get("role") in _SYSTEM for m in fields.get("messages") or ()):
        return Quirk.NO_SYSTEM_ROLE
    if _NO_TOOLS.search(refusal.message) and _has_tools(fields):
        return Quirk.NO_TOOLS
    return Quirk.COMPLETIONS_ONLY if _NO_CHAT.search(refusal.message) else None


def is_prompted(quirks: frozenset[Quirk]) -> bool:
    """Whether such a model is asked with one text."""
    return bool(quirks & _CHATLESS)


def suited(body: Body, quirks: frozenset[Quirk], task_prefix: str | None = None) -> Body:
    """A chat for a model with these quirks; the same object where it has nothing to change. Raises Incapable."""
    if not quirks:
        return body
    if (Quirk.NO_TOOLS in quirks or is_prompted(quirks)) and _has_tools(body.fields):
        raise Incapable("The model of this upstream knows no tools.", param="tools")
    if is_prompted(quirks):
        prompt = prompt_of(body.fields, quirks, task_prefix)
        return _with(body, [{"role": "user", "content": prompt}])
    messages = body.fields["messages"]
    if Quirk.NO_SYSTEM_ROLE in quirks and any(message.get("role") in _SYSTEM for message in messages):
        return _with(body, _folded(messages))
    return body


def prompt_of(fields: Mapping[str, Any], quirks: frozenset[Quirk], task_prefix: str | None = None) -> str:
    """A chat as the one text that such a model is asked with. Raises Incapable."""
    messages = [(str(m.get("role")), _text(m)) for m in fields["messages"]]
    system = "\n\n".join(text for role, text in messages if role in _SYSTEM and text)
    turns = [(role, text) for role, text in messages if role not in _SYSTEM]
    if len(turns) == 1 and turns[0][0] == "user":
        ask = turns[0][1]
        if Quirk.TASK_PREFIX in quirks:
            return _with_task(system, ask, task_prefix)
        return (task_prefix or "") + "\n\n".join(filter(None, (system, ask)))
    if Quirk.ENCODER_DECODER in quirks:
        raise Incapable("The model of this upstream reads one text: it knows no earlier turns.", param="messages")
    told = [f"{role.capitalize()}: {text}" for role, text in turns]
    return "\n\n".join([*filter(None, [system]), *told, "Assistant:"])


def _with(body: Body, messages: list[dict[str, Any]]) -> Body:
    changed = spliced(body.text, {("messages",): messages})
    return replace(body, text=changed, fields={**body.fields, "messages": messages})


def _has_tools(fields: Mapping[str, Any]) -> bool:
    if fields.get("tools") or fields.get("functions"):
        return True
    messages = fields.get("messages") or ()
    return any(m.get("role") in {"tool", "function"} or m.get("tool_calls") or m.get("function_call") for m in messages)


def _folded(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the system says at the head of the next user message; at the end, as one of the user's."""
    folded: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message.get("role") in _SYSTEM:
            waiting.append(_text(message))
        elif waiting and message.get("role") == "user":
            folded.append({**message, "content": _headed(waiting, message.get("content"))})
            waiting = []
        else:
            folded.append(message)
    if not waiting:
        return folded
    if folded and folded[-1].get("role") == "user":  # two in a row are more than some templates take
        last = folded.pop()
        return [*folded, {**last, "content": _tailed(last.get("content"), waiting)}]
    return [*folded, {"role": "user", "content": "\n\n".join(waiting)}]


def _headed(texts: list[str], content: object) -> object:
    head = "\n\n".join(texts)
    if isinstance(content, list):
        return [{"type": "text", "text": f"{head}\n\n"}, *content]
    return f"{head}\n\n{content or ''}"


def _tailed(content: object, texts: list[str]) -> object:
    tail = "\n\n".join(texts)
    if isinstance(content, list):
        return [*content, {"type": "text", "text": f"\n\n{tail}"}]
    return f"{content or ''}\n\n{tail}"


def _text(message: Message) -> str:
    """What a message says. Raises Incapable at pictures and sound."""
    content = message.get("content")
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        raise Incapable("The model of this upstream takes text only.", param="messages")
    return "\n".join(map(str, texts))


# What T5 was trained with, spelt as it was.
_PREFIXED = re.compile(
    r"\s*(?:summarize|translate \w+ to \w+|question|[a-z0-9]+ (?:sentence1?|premise|hypothesis)): ?\S"
)
_POLITE = r"\s*(?:(?:please|kindly)\s+|(?:can|could|would|will) you\s+(?:please\s+)?)?"
_END = r"[^:\n]{0,80}(?:[:\n]\s*|$)"
_SUMMARISE = re.compile(
    _POLITE + r"(?:summari[sz]e|(?:give|write)\s+(?:me\s+)?a\s+summary|tl;?dr)\b" + _END, re.IGNORECASE
)
_TRANSLATE = re.compile(
    _POLITE + r"translate\b[^:\n]{0,60}?(?:\s+from\s+(?P<source>\w+))?\s+(?:in)?to\s+(?P<target>\w+)\b" + _END,
    re.IGNORECASE,
)


def _with_task(system: str, ask: str, default: str | None) -> str:
    """The task in the words that the model knows, from the ask or from what the system says; then the text."""
    if _PREFIXED.match(ask):
        return ask
    for said, text in ((ask, ""), (system, ask)):
        task = _TRANSLATE.match(said) or _SUMMARISE.match(said)
        if task and (rest := (said[task.end() :] or text).strip()):
            return f"{_prefix_of(task)}: {rest}"
    if default is None:
        message = (
            "The model of this upstream only knows tasks such as `summarize: ` and `translate English to German: `."
        )
        raise Incapable(message, param="messages")
    return default + ask


def _prefix_of(task: re.Match[str]) -> str:
    named = task.groupdict()
    if target := named.get("target"):
        return f"translate {(named['source'] or 'English').capitalize()} to {target.capitalize()}"
    return "summarize"
