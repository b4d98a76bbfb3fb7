"""Requests put in the words that an upstream knows: only what it lacks is changed, everything else stays to the letter.

What it lacks is configured, or learnt from the words in which it refuses. A refusal that could mean anything else
teaches nothing.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from weighbridge.errors import Refused
from weighbridge.upstreams.splicing import REMOVED, Literally, Path, spliced, text_at
from weighbridge.wire import Body

Fields = Mapping[str, Any]


class Lack(StrEnum):
    """What an upstream does not take, by the name that stands in config.toml."""

    DEVELOPER_ROLE = "developer_role"  # sent as "system"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"  # sent as `max_tokens`
    MAX_TOKENS = "max_tokens"  # sent as `max_completion_tokens`
    STREAM_OPTIONS = "stream_options"  # left out
    JSON_OBJECT = "json_object"  # sent as a schema that every object fits
    LOGPROBS = "logprobs"  # left out where only the gateway asks for them
    JSON_SCHEMA = "json_schema"  # sent as a `json_object` with a schema; never learnt, as it may promise less


def lack_of(refusal: Refused, fields: Fields, added: frozenset[str] = frozenset()) -> Lack | None:
    """What this refusal of a request with these fields says that the upstream lacks."""
    if refusal.status not in {400, 403, 422} or refusal.code == "context_length_exceeded":
        return None
    return next((lack for lack, says in _LEARNT.items() if _uses(lack, fields, added) and says(refusal, lack)), None)


def adapted(body: Body, lacks: frozenset[Lack]) -> Body:
    """The request without what the upstream lacks; the same object where it has nothing of it."""
    changes: dict[Path, object] = {}
    for lack in lacks:
        if _uses(lack, body.fields, body.added):
            changes |= _changes(lack, body, lacks)
    if not changes:
        return body
    return Body(spliced(body.text, changes), _changed(body.fields, changes), body.added)


def _uses(lack: Lack, fields: Fields, added: frozenset[str]) -> bool:
    match lack:
        case Lack.LOGPROBS:  # whose client asks for them is told the server's own word
            return lack in added and lack in fields
        case Lack.DEVELOPER_ROLE:
            return bool(_developers(fields))
        case Lack.STREAM_OPTIONS:
            return bool(fields.get("stream"))  # the gateway itself adds them to a stream
        case Lack.JSON_OBJECT | Lack.JSON_SCHEMA:
            wanted = fields.get("response_format")
            return isinstance(wanted, Mapping) and wanted.get("type") == lack
        case _:  # a request with both limits is refused for that
            return lack in fields and fields.get(_OTHER_LIMIT[lack]) is None


def _changes(lack: Lack, body: Body, lacks: frozenset[Lack]) -> dict[Path, object]:
    fields = body.fields
    match lack:
        case Lack.DEVELOPER_ROLE:
            return {("messages", at, "role"): "system" for at in _developers(fields)}
        case Lack.LOGPROBS:
            return {("logprobs",): REMOVED}
        case Lack.STREAM_OPTIONS:
            return {("stream_options",): REMOVED} if "stream_options" in fields else {}
        case Lack.JSON_OBJECT:
            return {("response_format",): {"type": "json_schema", "json_schema": _ANY_OBJECT}}
        case Lack.JSON_SCHEMA:
            return _loosened(body)
        case _:
            other = _OTHER_LIMIT[lack]
            # Who takes neither is told the client's own word.
            return {} if other in lacks else {(other,): Literally(text_at(body.text, (lack,))), (lack,): REMOVED}


def _loosened(body: Body) -> dict[Path, object]:
    """A schema where llama.cpp's first servers, and others after them, look for it."""
    changes: dict[Path, object] = {
        ("response_format", "type"): "json_object",
        ("response_format", "json_schema"): REMOVED,
    }
    described = body.fields["response_format"].get("json_schema")
    if isinstance(described, Mapping) and "schema" in described:
        schema = text_at(body.text, ("response_format", "json_schema", "schema"))
        changes["response_format", "schema"] = Literally(schema)
    return changes


def _changed(value: Any, changes: Mapping[Path, object]) -> Any:
    """The same change to what was read from the text."""
    value = value.copy()
    for (name, *deeper), new in changes.items():
        if deeper:
            value[name] = _changed(value[name], {tuple(deeper): new})
        elif new is REMOVED:
            value.pop(name, None)
        else:
            value[name] = json.loads(new.text) if isinstance(new, Literally) else new
    return value


def _developers(fields: Fields) -> list[int]:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return []
    return [at for at, m in enumerate(messages) if isinstance(m, dict) and m.get("role") == "developer"]


def _knows_no_developer(refusal: Refused, _: Lack) -> bool:
    return bool(_NO_DEVELOPER.search(refusal.message))


def _knows_no_field(refusal: Refused, lack: Lack) -> bool:
    if refusal.code in {"unsupported_parameter", "unknown_parameter"} and refusal.param:
        return refusal.param == lack
    return bool(re.search(_NO_FIELD.format(name=lack), refusal.message, re.IGNORECASE))


def _knows_no_logprobs(refusal: Refused, lack: Lack) -> bool:
    return _knows_no_field(refusal, lack) or bool(_NO_LOGPROBS.search(refusal.message))


def _knows_no_json_object(refusal: Refused, _: Lack) -> bool:
    return bool(_NO_JSON_OBJECT.search(refusal.message))


# OpenAI: "You are not allowed to request logprobs from this model". Others: "logprobs are not enabled".
_NO_LOGPROBS = re.compile(
    r"not\ (?:allowed|permitted)\ to\ request\ logprobs|logprobs['\"`]?\ (?:are|is)\ (?:not|un|disabled)", re.I | re.X
)

# LM Studio's words.
_NO_JSON_OBJECT = re.compile(r"'response_format\.type' must be 'json_schema'")

# OpenAI: "'messages[0].role' does not support 'developer'", "Invalid value: 'developer'". LM Studio: "Got 'developer'".
# DeepSeek and others in Rust: "unknown variant `developer`". Alibaba: "developer is not one of [...]". Pydantic:
# "'input': 'developer'". Zod: "received 'developer'". Templates of models, through vLLM: "Unexpected message role."
_NO_DEVELOPER = re.compile(
    r"""(?: \b (?: does\ not\ support | invalid\ (?: value: | role:? ) | got | received | input_value= | input['"]\ ?:
              | un(?: known | supported | expected )\ (?: variant | role ):? )
          \s* ['"`]? developer\b )
      | \b developer ['"`]? \s (?: role\s )? is\ not\ (?: one\ of | supported | a\ valid\ role )
      | \b unexpected\ message\ role \b""",
    re.IGNORECASE | re.VERBOSE,
)

# A field's own name right behind, or right before, the words that say it is not known. That a value is wrong, or that
# two fields do not go together, is said in other words.
_NO_FIELD = r"""(?mx)
    (?: \b (?: un(?:supported|known|recognized|expected) | extra )
          \ (?: request\ )? (?: parameters? | arguments? | fields? | names? | inputs? | properties | property )
          (?: \ supplied )?
      | does\ not\ support\ (?: the\ )? parameters? )
    [\s:]* [\[{{(]? ['"`]? \b {name} \b (?! \.\w | \[ )
  | extra_forbidden ['"] , \s ['"] loc ['"] : \s* [\[(] ['"] body ['"] , \s* ['"] {name} ['"] [\])]
  | ^ (?: body\. )? {name} \n \s+ Extra\ inputs\ are\ not\ permitted
  | (?<! [\w.] ) {name} ['"`]? \ (?: parameter\ | argument\ | field\ )?
    is\ (?: not\ (?: supported | recognized | allowed | permitted ) | unsupported ) \b
    (?! \s (?: when | with\ stream | with\ value | together | in\ combination | if | unless | at ) \b )
"""

_LEARNT = {
    Lack.DEVELOPER_ROLE: _knows_no_developer,
    Lack.MAX_COMPLETION_TOKENS: _knows_no_field,
    Lack.MAX_TOKENS: _knows_no_field,
    Lack.STREAM_OPTIONS: _knows_no_field,
    Lack.JSON_OBJECT: _knows_no_json_object,
    Lack.LOGPROBS: _knows_no_logprobs,
}
_ANY_OBJECT = {"name": "object", "schema": {"type": "object"}}
_OTHER_LIMIT = {Lack.MAX_TOKENS: Lack.MAX_COMPLETION_TOKENS, Lack.MAX_COMPLETION_TOKENS: Lack.MAX_TOKENS}
