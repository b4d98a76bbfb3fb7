"""anthropic-python, of any major version."""

import asyncio
from typing import Any

import anthropic
from acting import Place, serve


def client(place: Place) -> anthropic.Anthropic:
    # Its base URL is the root: the client adds /v1 itself.
    return anthropic.Anthropic(base_url=place.root, api_key=place.key, max_retries=0, timeout=20)


def said_of(message: Any) -> dict[str, Any]:
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "model": message.model,
        "stop": message.stop_reason,
        "usage": [message.usage.input_tokens, message.usage.output_tokens],
        "calls": [
            {"id": block.id, "name": block.name, "input": block.input}
            for block in message.content
            if block.type == "tool_use"
        ],
    }


def message(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    return said_of(client(place).messages.create(model=place.model, **body))


def message_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    with client(place).messages.stream(model=place.model, **body) as running:
        # The helper adds events of its own to those on the wire.
        kinds = [event.type for event in running if event.type.startswith(("message_", "content_block_"))]
        return {**said_of(running.get_final_message()), "events": kinds}


def message_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    while True:
        answer = client(place).messages.create(model=place.model, messages=messages, tools=functions, max_tokens=100)
        if answer.stop_reason != "tool_use":
            return said_of(answer)
        messages.append({"role": "assistant", "content": answer.content})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "a wall"}
            for block in answer.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})


def count_tokens(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    return {"tokens": client(place).messages.count_tokens(model=place.model, **body).input_tokens}


def message_leave(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    async def giving_up() -> dict[str, Any]:
        sdk = anthropic.AsyncAnthropic(base_url=place.root, api_key=place.key, max_retries=0)
        async with sdk, sdk.messages.stream(model=place.model, **body) as running:
            async for _ in running.text_stream:
                return {"left": True}
        return {"left": False}

    return asyncio.run(giving_up())


def message_model_list(place: Place) -> dict[str, Any]:
    return {"ids": [model.id for model in client(place).models.list()]}


serve(globals())
