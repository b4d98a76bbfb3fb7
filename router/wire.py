"""JSON on the wire. Requests are read strictly and changed by splicing: what we do not touch arrives to the letter.

A body is parsed once. To name another model we cut its value out of the text and put ours in; the rest, big integers,
unknown fields and white space included, is never written anew.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner behind json.loads
from math import isfinite
from typing import Any, NoReturn

from weighbridge.discretion import for_clients, for_the_log
from weighbridge.errors import BadRequest
from weighbridge.units import Usage, estimated_tokens

MAX_NODES = 200_000
MAX_DEPTH = 400  # well below where any reader or writer of JSON behind us gives up

_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_ONE_KIND = bytes.maketrans(b"[]", b"{}")  # which closes which is the parser's to judge


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object as it came: its text, and its fields.

    added: those that the gateway put there for itself. An upstream that does not take them is asked without.
    """

    text: str
    fields: dict[str, Any]
    added: frozenset[str] = frozenset()

    def spliced(self, changes: Mapping[str, Any]) -> bytes:
        """The body with some top-level values changed or added, and everything else to the letter."""
        text = self.text
        edits = [(*_span(self.text, key), value) for key, value in changes.items() if key in self.fields]
        for start, end, value in sorted(edits, reverse=True):
            text = f"{text[:start]}{json.dumps(value)}{text[end:]}"
        added = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in changes.items() if k not in self.fields]
        if added:
            close = text.rindex("}")
            comma = "," if self.fields else ""
            text = f"{text[:close]}{comma}{','.join(added)}{text[close:]}"
        return text.encode()


def parse(raw: bytes) -> Body:
    """Read a body. BadRequest says what is wrong with it and where."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not valid UTF-8 at byte {error.start}.") from None
    _guard_size(text)
    try:
        fields = _decoder.decode(text)
        if not isinstance(fields, dict):
            raise BadRequest("The body must be a JSON object.")
        if "\\ud" in text or "\\uD" in text:
            _refuse_lone_surrogates(fields)
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not a valid JSON object: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    return Body(text, fields)


def _guard_size(text: str) -> None:
    """Refuse what is too scattered, or too deep, before it is parsed. A common body costs three counts."""
    opens = text.count("{") + text.count("[")
    if opens <= MAX_DEPTH and opens + text.count(",") <= MAX_NODES:
        return
    bare = _without_strings(text)
    if bare.count("{") + bare.count("[") + bare.count(",") > MAX_NODES:
        raise BadRequest(f"The body has more than {MAX_NODES:,} values.")
    if _is_deep(bare.encode().translate(_ONE_KIND, _NO_BRACKETS)):
        raise BadRequest(f"The body is nested too deeply: more than {MAX_DEPTH} levels.")


def _without_strings(text: str) -> str:
    # Of a valid text every second part lies outside of strings, once no quote is inside one.
    return "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _is_deep(brackets: bytes) -> bool:
    """Whether it takes more than MAX_DEPTH turns to take out the innermost pairs."""
    for _ in range(MAX_DEPTH):
        size = len(brackets)
        brackets = brackets.replace(b"{}", b"")
        if len(brackets) == size:  # none is left, or they do not pair: the parser will say where
            return False
    return bool(brackets)


def _span(text: str, wanted: str) -> tuple[int, int]:
    """Where in a valid object's text the value of a top-level key stands."""
    quoted = json.dumps(wanted)
    # Where it stands once it is the key: there is one, so no other string can be it.
    at = text.index(quoted) + len(quoted) if text.count(quoted) == 1 else _walk_to(text, wanted)
    start = _COLON.match(text, at).end()  # type: ignore[union-attr]  # the text is valid
    return start, _decoder.raw_decode(text, start)[1]


def _walk_to(text: str, wanted: str) -> int:
    """The end of a top-level key, found by reading the values before it whole, with the C scanner."""
    at = text.index("{") + 1
    while True:
        key, at = scanstring(text, text.index('"', at) + 1, True)
        if key == wanted:
            return int(at)
        _, at = _decoder.raw_decode(text, _COLON.match(text, at).end())  # type: ignore[union-attr]  # the text is valid


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The last of two equal names wins here, the first may win at the upstream: a way past the fence.
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)[:80]
        raise BadRequest(f"The body names {twice!r} twice in one object.", param=twice)
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise BadRequest(f"The number {digits[:40]} is too large.")
    return number


def _whole(digits: str) -> int:
    # As with 1e999: beyond what a double holds, the next reader of this text may fail. Answers repeat parts of it.
    if len(digits) > 308:
        raise BadRequest(f"The integer {digits[:40]}... is too large.")
    return int(digits)


def _not_json(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not valid JSON.")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_int=_whole, parse_constant=_not_json)


def usage_of(fields: object) -> Usage | None:
    """The `usage` object of an OpenAI answer; None where it is absent or makes no sense. Zero stays zero."""
    if not isinstance(fields, dict):
        return None
    details = fields.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = (fields.get("prompt_tokens"), fields.get("completion_tokens", 0), cached or 0)
    if not all(type(count) is int and count >= 0 for count in counts):
        return None
    return Usage(*counts)  # type: ignore[arg-type]  # just checked


def error_fields(raw: bytes) -> tuple[str | None, str | None, str | None, str | None]:
    """Message, type, param and code of an error body, in OpenAI's shape, Ollama's, FastAPI's, Google's or TGI's."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return None, None, None, None
    if isinstance(fields, list) and fields:  # Google puts its one error into a list
        fields = fields[0]
    error = (fields.get("error") or fields) if isinstance(fields, dict) else None
    if isinstance(error, str):
        error = {"message": error, "type": fields.get("error_type")}
    if not isinstance(error, dict):
        return None, None, None, None
    message = error.get("message") or error.get("detail")
    if message is not None and not isinstance(message, str):
        message = json.dumps(message)
    return (
        for_clients(message)[:2000] if message else None,
        _word(error.get("type")),
        _word(error.get("param")),
        _word(error.get("code")),
    )


def _word(value: object) -> str | None:
    """A word of the error's; a number is none, nor is Python's "None", which some servers write for nothing."""
    return for_the_log(value)[:200] if isinstance(value, str) and value not in {"", "None"} else None


def estimated_output_tokens(answer: bytes) -> int:
    """About how many tokens a whole answer has, from its text and its tool calls."""
    fields = json.loads(answer)
    parts = fields.get("choices") or fields.get("output") or fields.get("content") or []
    said = [part.get("message") or part.get("text") or part.get("content") for part in parts if isinstance(part, dict)]
    texts = [json.dumps(part, ensure_ascii=False) for part in said if part]
    # The object around the text is `{"role": "assistant", "content": ""}`, 36 characters of it.
    return sum(estimated_tokens(max(1, len(text) - 36)) for text in texts)


def _refuse_lone_surrogates(fields: dict[str, Any]) -> None:
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("The body holds half of a surrogate pair (\\ud800-\\udfff), which is not text.") from None
