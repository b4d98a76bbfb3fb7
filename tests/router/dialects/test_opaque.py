"""Requests whose bytes pass as they are: what rules and fences may still read of them."""

import pytest

from weighbridge.dialects.opaque import Opaque, body_of
from weighbridge.errors import BadRequest

FORM = (
    b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nf\xc3\xbcr jane.doe@example.com\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\ncontent-type: audio/mpeg\r\n\r\n'
    b"\x00\xff--x\r\n--x--\r\n"
)


def test_a_forms_text_is_read_and_its_files_are_not():
    body = body_of(FORM, "multipart/form-data; boundary=x")
    assert body.fields == {"model": "whisper-1", "prompt": "für jane.doe@example.com"}
    assert "jane.doe@example.com" in str(Opaque("/audio/transcriptions").messages(body.fields))


def test_a_json_body_is_read_strictly():
    assert body_of(b'{"input": "hello"}', "application/json").fields == {"input": "hello"}
    with pytest.raises(BadRequest):
        body_of(b'{"input": NaN}', "application/json")


@pytest.mark.parametrize("broken", [b"", b"no form", FORM.replace(b"--x--", b""), FORM.replace(b"--x", b"--y")])
def test_a_form_that_cannot_be_read_is_refused_since_others_might_read_it(broken):
    with pytest.raises(BadRequest):
        body_of(broken, "multipart/form-data; boundary=x")


def test_nothing_is_generated_that_could_be_reserved_for():
    assert (Opaque("/moderations").output_limit({}), Opaque("/moderations").choices({})) == (0, 0)
