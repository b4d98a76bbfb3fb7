"""litellm as a library, with the gateway as an OpenAI-compatible server."""

import asyncio
from typing import Any

import litellm
from acting import Place, serve
from pydantic import BaseModel

litellm.telemetry = False


class City(BaseModel):
    """A city."""

    name: str
    people: int


def of(place: Place) -> dict[str, Any]:
    where = {"api_base": place.url, "api_key": place.key, "num_retries": 0, "max_retries": 0, "timeout": 20}
    return {"model": f"openai/{place.model}", **where}


def asked(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


def calls(message: Any) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
        for call in message.tool_calls or ()
    ]


def chat(place: Place, prompt: str) -> dict[str, Any]:
    answer = litellm.completion(messages=asked(prompt), **of(place))
    return {
        "text": answer.choices[0].message.content,
        "model": answer.model,
        "finish": answer.choices[0].finish_reason,
        "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    }


def stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(litellm.completion(messages=asked(prompt), stream=True, **options, **of(place)))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    counts = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "finishes": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usages": [{"prompt_tokens": c.prompt_tokens, "completion_tokens": c.completion_tokens} for c in counts],
    }


def tools(place: Place, prompt: str, functions: list[dict[str, Any]], streamed: bool = False) -> dict[str, Any]:
    answer = litellm.completion(messages=asked(prompt), tools=functions, stream=streamed, **of(place))
    if streamed:
        answer = litellm.stream_chunk_builder(list(answer))
    return {"calls": calls(answer.choices[0].message), "finish": answer.choices[0].finish_reason}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    messages = asked(prompt)
    while True:
        message = litellm.completion(messages=messages, tools=functions, **of(place)).choices[0].message
        if not message.tool_calls:
            return {"text": message.content}
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "a wall"} for call in message.tool_calls]


def parse(place: Place, prompt: str) -> dict[str, Any]:
    answer = litellm.completion(messages=asked(prompt), response_format=City, **of(place))
    return {"parsed": City.model_validate_json(answer.choices[0].message.content).model_dump()}


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    answer = litellm.completion(messages=[{"role": "user", "content": parts}], **of(place))
    return {"text": answer.choices[0].message.content}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    async def giving_up() -> dict[str, Any]:
        if streamed:
            running = await litellm.acompletion(messages=asked(prompt), stream=True, **of(place))
            async for _ in running:
                await running.aclose()
                return {"left": True}
        try:
            await asyncio.wait_for(litellm.acompletion(messages=asked(prompt), **of(place)), 0.8)
        except TimeoutError:
            return {"left": True}
        return {"left": False}

    return asyncio.run(giving_up())


def embed(place: Place, texts: Any, form: str | None = None, dimensions: int | None = None) -> dict[str, Any]:
    more: dict[str, Any] = {"encoding_format": form} if form else {}
    more |= {"dimensions": dimensions, "allowed_openai_params": ["dimensions"]} if dimensions else {}
    return {"vectors": [e["embedding"] for e in litellm.embedding(input=texts, **more, **of(place)).data]}


def respond(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    answer = litellm.responses(**body, **of(place))
    return {
        "text": answer.output_text,
        "status": answer.status,
        "usage": [answer.usage.input_tokens, answer.usage.output_tokens],
        "calls": [
            {"id": item.call_id, "name": item.name, "arguments": item.arguments}
            for item in answer.output
            if item.type == "function_call"
        ],
    }


serve(globals())
