"""Content blocks of the Messages API as parts of chat messages. Pure.

A picture stays a picture and a PDF a file; every other document becomes text, for that is all that chat has for it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from weighbridge.errors import BadRequest

Block = Mapping[str, Any]
Part = dict[str, Any]

# What a server of Anthropic's did or thought in earlier turns. Only such a server can read it again.
UNREADABLE = frozenset({"thinking", "redacted_thinking", "server_tool_use", "compaction"})


def blocks_of(content: object) -> list[Block]:
    """Content as blocks: a string stands for one block of text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def parts_of(blocks: Iterable[Block]) -> list[Part]:
    """BadRequest names the block that chat has no words for."""
    return [part for block in blocks for part in _parts(block)]


def text_of(content: object) -> str:
    """The text of content."""
    return joined(parts_of(blocks_of(content)))


def content_of(parts: list[Part]) -> str | list[Part]:
    """Parts as a message's content. Text alone goes as a string, which every server takes."""
    if all(part["type"] == "text" for part in parts):
        return joined(parts)
    return parts


def joined(parts: Iterable[Part]) -> str:
    """The text of parts, each a paragraph of its own."""
    return "\n\n".join(part["text"] for part in parts if part["type"] == "text")


def _parts(block: Block) -> list[Part]:
    kind = block.get("type")
    if kind == "text":
        return _text(block.get("text"))
    if kind == "image":
        return [_image(_source(block))]
    if kind == "document":
        return _document(block)
    if kind == "search_result":
        lines = [block.get("title"), block.get("source"), joined(_plain(block.get("content")))]
        return _text(
            "\n".join(["<search_result>", *(line for line in lines if isinstance(line, str)), "</search_result>"])
        )
    if kind == "tool_reference":
        return _text(block.get("tool_name"))
    if isinstance(kind, str) and (kind in UNREADABLE or kind.endswith("_tool_result")):
        return []
    raise _beyond("a block", kind)


def _text(text: object) -> list[Part]:
    return [{"type": "text", "text": text}] if isinstance(text, str) and text else []


def _plain(content: object) -> list[Part]:
    """What may stand inside a block: text and pictures. Nothing nests deeper, so nobody can make us."""
    return parts_of(block for block in blocks_of(content) if block.get("type") in ("text", "image"))


def _source(block: Block) -> Mapping[str, Any]:
    source = block.get("source")
    return source if isinstance(source, Mapping) else {}


def _image(source: Mapping[str, Any]) -> Part:
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}
        case {"type": "url", "url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
    raise _beyond("an image with a source", source.get("type"))


def _document(block: Block) -> list[Part]:
    title = block.get("title") if isinstance(block.get("title"), str) else None
    match _source(block):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            file = {"filename": title or "document.pdf", "file_data": f"data:{media_type};base64,{data}"}
            return [*_text(block.get("context")), {"type": "file", "file": file}]
        case {"type": "text", "data": str(data)}:
            return _text(_framed(data, title, block.get("context")))
        case {"type": "content", "content": content}:
            parts = _plain(content)
            pictures = [part for part in parts if part["type"] != "text"]
            return [*_text(_framed(joined(parts), title, block.get("context"))), *pictures]
        case source:
            raise _beyond("a document with a source", source.get("type"))


def _framed(text: str, title: str | None, context: object) -> str:
    """A document apart from the words around it."""
    heads = [
        f"<{name}>{value}</{name}>"
        for name, value in (("title", title), ("context", context))
        if isinstance(value, str)
    ]
    return "\n".join(["<document>", *heads, text, "</document>"])


def _beyond(what: str, kind: object) -> BadRequest:
    named = f"{what} of type {kind[:60]!r}" if isinstance(kind, str) else f"{what} without a type"
    message = f"The upstream has only chat completions, which cannot carry {named}."
    return BadRequest(message, param="messages", code="not_supported")
