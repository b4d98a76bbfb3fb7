"""APIs of which we read only what rules and fences need: moderations, audio, pictures. Their bytes pass as they are."""

from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from typing import Any, ClassVar

from weighbridge.asks import whole_text
from weighbridge.dialects.base import Dialect, Fields
from weighbridge.errors import BadRequest
from weighbridge.streaming import Bytes, Relay
from weighbridge.units import Usage
from weighbridge.wire import Body, parse


class Opaque(Dialect):
    """One path whose requests and answers are somebody else's business."""

    is_scored: ClassVar[bool] = False
    knows_our_models: ClassVar[bool] = False

    def __init__(self, path: str) -> None:
        self.path = path  # type: ignore[misc]  # the one dialect that has many

    def check(self, fields: Fields) -> None:
        """Its server will judge it."""

    def messages(self, fields: Fields) -> Sequence[Mapping[str, Any]]:
        return [{"role": "user", "content": whole_text(fields)}]

    def output_limit(self, fields: Fields) -> int:
        return 0

    def choices(self, fields: Fields) -> int:
        return 0

    def wants_json_schema(self, fields: Fields) -> bool:
        return False

    def is_answer(self, answer: Fields) -> bool:
        return True

    def usage_of(self, answer: Fields) -> Usage | None:
        return None

    def relay(self, fields: Fields) -> Relay:
        return Bytes()


def body_of(raw: bytes, content_type: str) -> Body:
    """What rules and fences may look at: a JSON object, or the text fields of a form. BadRequest for broken JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return Body("", _form(raw, content_type))
    return parse(raw) if raw else Body("", {})


def _form(raw: bytes, content_type: str) -> dict[str, Any]:
    """The text fields of a form by their names; files are left out."""
    head = b"content-type: %b\r\n\r\n" % content_type.encode("latin-1")
    whole = message_from_bytes(head + raw, policy=policy.HTTP)
    if whole.defects or not whole.is_multipart():
        # What we cannot read another may: it would pass the fence unseen.
        raise BadRequest("The form cannot be read: its boundary or its parts are broken.")
    fields = {}
    for part in whole.iter_parts():
        if part.get_filename() is None and (name := part.get_param("name", header="content-disposition")):
            payload = part.get_payload(decode=True)
            fields[str(name)] = payload.decode(errors="replace") if isinstance(payload, bytes) else ""
    return fields
