"""What an upstream's failure means, in our own words."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import ValidationError
from scripted import ScriptedUpstream, closed_port, respond

from weighbridge.errors import Failed, Incapable, Limited, Refused, TimedOut, Unreachable
from weighbridge.upstreams.base import Limits
from weighbridge.upstreams.http import refusal, retry_after
from weighbridge.upstreams.openai import OpenAI
from weighbridge.wire import error_fields, parse

ROLES = "Conversation roles must alternate user/assistant/user/assistant/..."
BODY = parse(b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}')


def upstream(url: str, **fields) -> OpenAI:
    return OpenAI(model="m", location="local", base_url=url, limits=Limits(connect_s=1, total_s=2), **fields)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Refused, ""),
        (401, Failed, "upstream_auth"),
        (403, Failed, "upstream_auth"),
        (404, Refused, "not_found"),
        (408, TimedOut, "upstream_timeout"),
        (413, Refused, ""),
        (429, Limited, "rate_limit_exceeded"),
        (301, Failed, "upstream_redirect"),
        (500, Failed, "upstream_error"),
        (503, Failed, "upstream_error"),
    ],
)
def test_a_status_has_one_meaning(status, kind, code):
    error = refusal(status, {}, b"not json")
    assert type(error) is kind
    assert error.code == code


def test_a_template_that_refuses_is_no_broken_server():
    raw = json.dumps({"error": {"code": 500, "message": f"in source:\n...{{{{}}}}\nError: Jinja Exception: {ROLES}"}})
    error = refusal(500, {}, raw.encode())
    assert type(error) is Incapable
    assert error.message == f"The model's chat template refuses the request: {ROLES}"
    assert error.status == 400


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"error": {"message": "a", "code": 7}}', "a"),
        (b'{"error": "b"}', "b"),
        (b'{"detail": "c"}', "c"),
        (b'{"detail": [{"loc": ["x"]}]}', '[{"loc": ["x"]}]'),
        (b'{"message": "d"}', "d"),
        (b"<html>", None),
        (b"[1]", None),
        (b'{"error": null}', None),
    ],
)
def test_an_error_body_is_read_in_whatever_shape_it_has(raw, message):
    assert error_fields(raw)[0] == message


def test_a_message_is_cleaned_of_addresses_and_keys():
    raw = b'{"error": {"message": "at https://host/v1?key=1 with sk-abcdefgh12345 or Bearer xyz.abc"}}'
    message = error_fields(raw)[0]
    assert "host" not in message
    assert "abcdefgh" not in message
    assert "xyz" not in message


def test_a_wait_is_read_in_each_of_its_forms():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after-ms": "1500"}) == 1.5
    assert 25 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


async def test_a_closed_port_is_unreachable():
    server = upstream(f"http://127.0.0.1:{closed_port()}/v1")
    await server.aopen()
    with pytest.raises(Unreachable) as caught:
        await server.complete(BODY)
    assert "127.0.0.1" not in caught.value.message
    await server.aclose()


async def test_an_answer_without_an_end_is_refused_at_its_size():
    with ScriptedUpstream() as script:
        script.always(respond(200, b"x" * (65 << 20)))
        server = upstream(script.url)
        await server.aopen()
        with pytest.raises(Failed, match="too large"):
            await server.complete(BODY)
        await server.aclose()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://a b"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ValidationError):
        upstream(url)
