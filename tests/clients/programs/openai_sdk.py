"""openai-python, of any major version: what its users write, one function for each thing that they do."""

import asyncio
from typing import Any

import openai
from acting import Place, serve
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


def client(place: Place) -> openai.OpenAI:
    return openai.OpenAI(base_url=place.url, api_key=place.key, max_retries=0, timeout=20)


def asked(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


def counts(usage: Any) -> list[int] | None:
    return [usage.prompt_tokens, usage.completion_tokens] if usage else None


def calls(message: Any) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
        for call in message.tool_calls or ()
    ]


# Chat.


def chat(place: Place, prompt: str) -> dict[str, Any]:
    answer = client(place).chat.completions.create(model=place.model, messages=asked(prompt))
    return {
        "text": answer.choices[0].message.content,
        "model": answer.model,
        "finish": answer.choices[0].finish_reason,
        "usage": counts(answer.usage),
        "cached": answer.usage.prompt_tokens_details.cached_tokens if answer.usage.prompt_tokens_details else None,
        "request_id": answer._request_id,
    }


def stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    with client(place).chat.completions.create(
        model=place.model, messages=asked(prompt), stream=True, **options
    ) as chunks:
        return gathered([chunk.model_dump(exclude_unset=True) for chunk in chunks])


def gathered(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return {
        "text": "".join(choice["delta"].get("content") or "" for choice in choices),
        "models": sorted({chunk["model"] for chunk in chunks}),
        "ids": sorted({chunk["id"] for chunk in chunks}),
        "roles": [c["delta"]["role"] for c in choices if c["delta"].get("role")],
        "finishes": [c["finish_reason"] for c in choices if c.get("finish_reason")],
        "usages": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
        "chunks": chunks,
    }


def send(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    """A chat with any fields at all, and the answer as it came."""
    known = {name: body[name] for name in ("model", "messages", "stream") if name in body}
    extra = {name: value for name, value in body.items() if name not in known}
    answer = client(place).chat.completions.with_raw_response.create(**known, extra_body=extra)
    return {"text": answer.text if isinstance(answer.text, str) else answer.text(), "headers": dict(answer.headers)}


def send_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    known = {name: body[name] for name in ("model", "messages") if name in body}
    extra = {name: value for name, value in body.items() if name not in known}
    with client(place).chat.completions.create(**known, stream=True, extra_body=extra) as chunks:
        return gathered([chunk.model_dump(exclude_unset=True) for chunk in chunks])


def tools(place: Place, prompt: str, functions: list[dict[str, Any]], streamed: bool = False) -> dict[str, Any]:
    fields = {"model": place.model, "messages": asked(prompt), "tools": functions}
    sdk = client(place)
    if not streamed:
        choice = sdk.chat.completions.create(**fields).choices[0]
        return {"calls": calls(choice.message), "finish": choice.finish_reason}
    helper = sdk.chat.completions if hasattr(sdk.chat.completions, "stream") else sdk.beta.chat.completions
    with helper.stream(**fields) as running:
        choice = running.get_final_completion().choices[0]
    return {"calls": calls(choice.message), "finish": choice.finish_reason}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]], streamed: bool = False) -> dict[str, Any]:
    """Ask, do what the model calls for, and go on until it is through."""
    messages, sdk, models = asked(prompt), client(place), []
    while True:
        answer = sdk.chat.completions.create(model=place.model, messages=messages, tools=functions)
        message = answer.choices[0].message
        models.append(answer.model)
        if not message.tool_calls:
            return {"text": message.content, "models": models}
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "a wall"} for call in message.tool_calls]


def parse(place: Place, prompt: str) -> dict[str, Any]:
    sdk = client(place)
    helper = sdk.chat.completions if hasattr(sdk.chat.completions, "parse") else sdk.beta.chat.completions
    answer = helper.parse(model=place.model, messages=asked(prompt), response_format=City)
    return {"parsed": answer.choices[0].message.parsed.model_dump()}


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    answer = client(place).chat.completions.create(model=place.model, messages=[{"role": "user", "content": parts}])
    return {"text": answer.choices[0].message.content}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    """Give up: after the first words of a stream, or when a whole answer does not come."""

    async def giving_up() -> dict[str, Any]:
        async with openai.AsyncOpenAI(base_url=place.url, api_key=place.key, max_retries=0) as sdk:
            if streamed:
                async with await sdk.chat.completions.create(
                    model=place.model, messages=asked(prompt), stream=True
                ) as chunks:
                    async for _ in chunks:
                        return {"left": True}
            asking = sdk.chat.completions.create(model=place.model, messages=asked(prompt))
            try:
                await asyncio.wait_for(asking, 0.8)
            except TimeoutError:
                return {"left": True}
            return {"left": False}

    return asyncio.run(giving_up())


# Text completions and embeddings.


def complete(place: Place, prompt: Any, suffix: str | None = None, n: int = 1) -> dict[str, Any]:
    more = {"suffix": suffix} if suffix else {}
    answer = client(place).completions.create(model=place.model, prompt=prompt, n=n, max_tokens=50, **more)
    return {
        "texts": [choice.text for choice in answer.choices],
        "indexes": [choice.index for choice in answer.choices],
        "usage": counts(answer.usage),
    }


def complete_stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(
        client(place).completions.create(model=place.model, prompt=prompt, max_tokens=50, stream=True, **options)
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "text": "".join(choice.text for choice in choices),
        "finishes": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usages": [counts(chunk.usage) for chunk in chunks if chunk.usage],
    }


def embed(place: Place, texts: Any, form: str | None = None, dimensions: int | None = None) -> dict[str, Any]:
    more: dict[str, Any] = {"encoding_format": form} if form else {}
    more |= {"dimensions": dimensions} if dimensions else {}
    answer = client(place).embeddings.create(model=place.model, input=texts, **more)
    return {"vectors": [entry.embedding for entry in answer.data], "tokens": answer.usage.prompt_tokens}


# Responses.


def said_of(response: Any) -> dict[str, Any]:
    return {
        "id": response.id,
        "text": response.output_text,
        "model": response.model,
        "status": response.status,
        "usage": [response.usage.input_tokens, response.usage.output_tokens] if response.usage else None,
        "calls": [
            {"id": item.call_id, "name": item.name, "arguments": item.arguments}
            for item in response.output
            if item.type == "function_call"
        ],
        "types": [item.type for item in response.output],
    }


def respond(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    return said_of(client(place).responses.create(model=place.model, **body))


def respond_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    with client(place).responses.stream(model=place.model, **body) as running:
        events = list(running)
        final = running.get_final_response()
    return {
        **said_of(final),
        "events": [event.type for event in events],
        "numbers": [event.sequence_number for event in events],
    }


def respond_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    items: list[Any] = asked(prompt)
    while True:
        answer = client(place).responses.create(model=place.model, input=items, tools=functions, store=False)
        called = [item for item in answer.output if item.type == "function_call"]
        if not called:
            return said_of(answer)
        items += [item.model_dump(exclude_none=True) for item in answer.output]
        items += [{"type": "function_call_output", "call_id": item.call_id, "output": "a wall"} for item in called]


def respond_parse(place: Place, prompt: str) -> dict[str, Any]:
    answer = client(place).responses.parse(model=place.model, input=prompt, text_format=City)
    return {"parsed": answer.output_parsed.model_dump()}


def response_kept(place: Place, prompt: str) -> dict[str, Any]:
    """Make one that is kept, ask for it, go on from it, delete it, and ask again."""
    sdk = client(place)
    first = sdk.responses.create(model=place.model, input=prompt, store=True)
    again = sdk.responses.retrieve(first.id)
    next_ = sdk.responses.create(model=place.model, input="And then?", previous_response_id=first.id)
    sdk.responses.delete(first.id)
    try:
        sdk.responses.retrieve(first.id)
    except openai.NotFoundError:
        return {"first": first.id, "again": again.id, "previous": next_.previous_response_id, "gone": True}
    return {"gone": False}


# The rest.


def models(place: Place) -> dict[str, Any]:
    return {"ids": [model.id for model in client(place).models.list()]}


def model(place: Place, name: str) -> dict[str, Any]:
    return {"id": client(place).models.retrieve(name).id}


def moderate(place: Place, text: str) -> dict[str, Any]:
    return {"flagged": [result.flagged for result in client(place).moderations.create(input=text).results]}


def speak(place: Place, text: str) -> dict[str, Any]:
    spoken = client(place).audio.speech.create(model="tts-1", voice="alloy", input=text)
    return {"hex": spoken.content.hex()}


def transcribe(place: Place, hex_: str) -> dict[str, Any]:
    sound = bytes.fromhex(hex_)
    return {"text": client(place).audio.transcriptions.create(model="whisper-1", file=("a.mp3", sound)).text}


def draw(place: Place, prompt: str) -> dict[str, Any]:
    drawn = client(place).images.generate(model="dall-e-3", prompt=prompt, response_format="b64_json")
    return {"base64": drawn.data[0].b64_json}


serve(globals())
