"""Content blocks as parts."""

import pytest

from weighbridge.dialects.messages_blocks import blocks_of, content_of, parts_of, text_of
from weighbridge.errors import BadRequest


def one(block):
    (part,) = parts_of([block])
    return part


def text(said):
    return {"type": "text", "text": said}


def test_text_loses_its_cache_marks_and_nothing_else():
    assert one({"type": "text", "text": "hé", "cache_control": {"type": "ephemeral"}}) == text("hé")
    assert parts_of([text("")]) == []


def test_pictures_go_as_addresses():
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    assert one({"type": "image", "source": source})["image_url"] == {"url": "data:image/png;base64,QUJD"}
    address = {"type": "url", "url": "https://example.com/x.png"}
    assert one({"type": "image", "source": address})["image_url"] == {"url": "https://example.com/x.png"}


def test_a_pdf_goes_as_a_file_and_its_context_as_text():
    source = {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}
    context, file = parts_of([{"type": "document", "source": source, "title": "a.pdf", "context": "the lease"}])
    assert context == text("the lease")
    assert file["file"] == {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}
    assert one({"type": "document", "source": source})["file"]["filename"] == "document.pdf"


def test_a_text_document_goes_as_text_in_a_frame():
    source = {"type": "text", "media_type": "text/plain", "data": "grass is green"}
    block = {
        "type": "document",
        "source": source,
        "title": "Facts",
        "context": "trusted",
        "citations": {"enabled": True},
    }
    assert one(block)["text"] == (
        "<document>\n<title>Facts</title>\n<context>trusted</context>\ngrass is green\n</document>"
    )


def test_a_document_of_blocks_keeps_its_pictures():
    content = [text("see"), {"type": "image", "source": {"type": "url", "url": "u"}}, {"type": "document"}]
    framed, picture = parts_of([{"type": "document", "source": {"type": "content", "content": content}}])
    assert framed == text("<document>\nsee\n</document>")
    assert picture["type"] == "image_url"


def test_a_search_result_goes_as_text():
    block = {"type": "search_result", "title": "T", "source": "https://a", "content": [text("found")]}
    assert one(block)["text"] == "<search_result>\nT\nhttps://a\nfound\n</search_result>"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    ],
)
def test_what_only_anthropics_servers_can_read_is_left_out(block):
    assert parts_of([block]) == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image"},
        {"type": "image", "source": {"type": "base64", "data": 3}},
        {"type": "document", "source": {"type": "url", "url": "https://a"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "container_upload", "file_id": "f"},
        {"type": {"unhashable": []}},
        {},
    ],
)
def test_what_chat_cannot_carry_is_refused(block):
    with pytest.raises(BadRequest) as caught:
        parts_of([block])
    assert caught.value.code == "not_supported"


def test_text_alone_goes_as_a_string():
    picture = {"type": "image_url", "image_url": {"url": "u"}}
    assert content_of([text("a"), text("b")]) == "a\n\nb"
    assert content_of([text("a"), picture]) == [text("a"), picture]


def test_a_string_is_one_block():
    assert blocks_of("a") == [text("a")]
    assert blocks_of("") == blocks_of(None) == blocks_of(["not a block"]) == []
    assert text_of("a") == text_of([text("a")]) == "a"
