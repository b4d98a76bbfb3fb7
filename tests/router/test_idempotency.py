"""What is noted under a key: written and read back to the byte, and told apart from every other request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.cache import Kept
from weighbridge.idempotency import Note, digest_of, digest_of_bytes, name_of

FORM = b"--%b\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--%b--\r\n"
FOREIGN = ["", "{", "[]", "null", "7", '["digest"]', '["d", "r", "upstream"]', '["d", "r", 1, 2, 3]']


@given(st.lists(st.binary(max_size=50)), st.one_of(st.none(), st.text(max_size=20)))
def test_an_answer_comes_back_to_the_byte(parts, content_type):
    note = Note("digest", "wb-1", Kept("remote", tuple(parts), None, content_type))
    assert Note.of(note.text) == note


def test_a_claim_holds_no_answer():
    note = Note("digest", "wb-1")
    assert Note.of(note.text) == note
    assert note.kept is None


@pytest.mark.parametrize("text", FOREIGN)
def test_what_another_release_wrote_is_no_note(text):
    assert Note.of(text) is None


def test_callers_paths_fences_and_keys_do_not_run_together():
    names = {
        name_of(*parts)
        for parts in [
            ("ann", "/chat/completions", None, "1"),
            ("bob", "/chat/completions", None, "1"),
            ("ann", "/embeddings", None, "1"),
            ("ann", "/chat/completions", "local", "1"),
            ("ann", "/chat/completions", None, "2"),
            ("ann/chat", "/completions", None, "1"),
        ]
    }
    assert len(names) == 6
    assert all(len(name) == 64 for name in names)


def test_a_digest_is_of_all_that_is_said_and_of_the_key():
    said = {"model": "auto", "prompt": "hi"}
    assert digest_of("1", said) == digest_of("1", dict(reversed(said.items())))
    others = [digest_of("2", said), digest_of("1", said | {"stream": True}), digest_of("1", said | {"prompt": "ho"})]
    assert len({digest_of("1", said), *others}) == 4


def test_a_body_too_deep_to_be_written_has_none():
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert digest_of("1", deep) is None


@pytest.mark.parametrize("quote", ["", '"'])
def test_the_boundary_of_a_form_makes_no_other_upload(quote):
    def digest(boundary: str, raw: bytes = FORM) -> str:
        kind = f"multipart/form-data; boundary={quote}{boundary}{quote}; charset=utf-8"
        return digest_of_bytes("1", raw % ((boundary.encode(),) * 2), kind)

    assert digest("abc") == digest("xyz")
    assert digest("abc") != digest("abc", FORM.replace(b"whisper-1", b"whisper-2"))
    assert digest_of_bytes("1", b"{}", "application/json") != digest_of_bytes("1", b"{ }", "application/json")
