"""The published shapes of the five main operations, as an OpenAPI document: those of the vendors' own SDKs."""

from typing import Any

from anthropic.types.message_create_params import MessageCreateParams
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

OPERATIONS: dict[str, Any] = {
    "/v1/chat/completions": chat_create_params.CompletionCreateParams,
    "/v1/completions": completion_create_params.CompletionCreateParams,
    "/v1/embeddings": embedding_create_params.EmbeddingCreateParams,
    "/v1/responses": response_create_params.ResponseCreateParams,
    "/v1/messages": MessageCreateParams,
}
_MODELS = {"enum": ["auto", "auto:local", "chat", "local", "remote"]}  # others are a 404 before anything is looked at


def document() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for path, shape in OPERATIONS.items():
        prefix = path.removeprefix("/v1/").replace("/", "_")
        body = TypeAdapter(shape).json_schema(ref_template=f"#/components/schemas/{prefix}_{{model}}")
        shapes |= {f"{prefix}_{name}": part for name, part in body.pop("$defs", {}).items()}
        paths[path] = {"post": _operation(body)}
        for variant in _variants(body, prefix, shapes):
            _focus(variant)
    return {"openapi": "3.1.0", "info": {"title": "main operations", "version": "1"}, "paths": paths} | {
        "components": {"schemas": shapes}
    }


def _operation(body: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    return {"requestBody": {"required": True, "content": content}, "responses": {"200": {"description": "answered"}}}


def _variants(body: dict[str, Any], prefix: str, shapes: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole body's shapes, as many as there are: with a stream, and without."""
    parts = body.get("anyOf") or [body]
    return [shapes[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part for part in parts]


def _focus(variant: dict[str, Any]) -> None:
    """Models that are here, and something in the conversation: else nearly every body ends at the same two checks."""
    variant["properties"]["model"] = _MODELS
    variant["required"] = sorted({*variant.get("required", []), "model"})
    if "messages" in variant["properties"]:
        variant["properties"]["messages"]["minItems"] = 1
