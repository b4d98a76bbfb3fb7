"""LangChain for Python, with its OpenAI and its Anthropic models."""

import asyncio
from typing import Any

from acting import NotOffered, Place, serve
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


def model_of(place: Place, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=place.url, api_key=place.key, model=place.model, max_retries=0, timeout=20, **more)


def said_of(message: Any) -> dict[str, Any]:
    return {
        "text": message.text if isinstance(message.text, str) else message.text(),
        "model": message.response_metadata.get("model_name") or message.response_metadata.get("model"),
        "usage": [message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]],
        "calls": calls(message),
    }


def calls(message: Any) -> list[dict[str, Any]]:
    return [{"id": c["id"], "name": c["name"], "arguments": c["args"], "input": c["args"]} for c in message.tool_calls]


def chat(place: Place, prompt: str) -> dict[str, Any]:
    message = model_of(place).invoke(prompt)
    return {**said_of(message), "finish": message.response_metadata["finish_reason"]}


def stream(place: Place, prompt: str, usage: bool = False) -> dict[str, Any]:
    chunks = list(model_of(place, stream_usage=usage).stream(prompt))
    counts = [c.usage_metadata for c in chunks if c.usage_metadata]
    return {
        "text": "".join(chunk.content for chunk in chunks),
        "usages": [{"prompt_tokens": c["input_tokens"], "completion_tokens": c["output_tokens"]} for c in counts],
        "finishes": [c.response_metadata["finish_reason"] for c in chunks if c.response_metadata.get("finish_reason")],
    }


def tools(place: Place, prompt: str, functions: list[dict[str, Any]], streamed: bool = False) -> dict[str, Any]:
    bound = model_of(place).bind_tools(functions)
    if not streamed:
        return {"calls": calls(bound.invoke(prompt))}
    whole = None
    for chunk in bound.stream(prompt):
        whole = chunk if whole is None else whole + chunk
    return {"calls": calls(whole)}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    bound = model_of(place).bind_tools(functions)
    messages: list[Any] = [HumanMessage(prompt)]
    while True:
        answer = bound.invoke(messages)
        if not answer.tool_calls:
            return {"text": answer.content}
        messages += [answer, *(ToolMessage("a wall", tool_call_id=call["id"]) for call in answer.tool_calls)]


def parse(place: Place, prompt: str) -> dict[str, Any]:
    return {"parsed": model_of(place).with_structured_output(City, method="json_schema").invoke(prompt).model_dump()}


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    return {"text": model_of(place).invoke([HumanMessage(parts)]).content}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    async def giving_up() -> dict[str, Any]:
        if streamed:
            running = model_of(place).astream(prompt)
            async for _ in running:
                await running.aclose()
                return {"left": True}
        try:
            await asyncio.wait_for(model_of(place).ainvoke(prompt), 0.8)
        except TimeoutError:
            return {"left": True}
        return {"left": False}

    return asyncio.run(giving_up())


def complete(place: Place, prompt: str, suffix: str | None = None) -> dict[str, Any]:
    more = {"model_kwargs": {"suffix": suffix}} if suffix else {}
    model = OpenAI(base_url=place.url, api_key=place.key, model=place.model, max_retries=0, **more)
    return {"texts": [model.invoke(prompt)]}


def embed(place: Place, texts: list[str]) -> dict[str, Any]:
    # It knows only OpenAI's own tokenisers, and turns text into tokens with them.
    model = OpenAIEmbeddings(
        base_url=place.url, api_key=place.key, model=place.model, max_retries=0, check_embedding_ctx_length=False
    )
    return {"vectors": model.embed_documents(texts)}


def respond(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    if body.keys() != {"input"} or not isinstance(body["input"], str):
        raise NotOffered
    message = model_of(place, use_responses_api=True).invoke(body["input"])
    return said_of(message)


def respond_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    bound = model_of(place, use_responses_api=True).bind_tools(functions)
    messages: list[Any] = [HumanMessage(prompt)]
    while True:
        answer = bound.invoke(messages)
        if not answer.tool_calls:
            return {"text": said_of(answer)["text"]}
        messages += [answer, *(ToolMessage("a wall", tool_call_id=call["id"]) for call in answer.tool_calls)]


def claude(place: Place) -> ChatAnthropic:
    return ChatAnthropic(base_url=place.root, api_key=place.key, model=place.model, max_tokens=100, max_retries=0)


def message(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    return message_said(prepared(place, body).invoke(body["messages"]))


def message_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    whole = None
    for chunk in prepared(place, body).stream(body["messages"]):
        whole = chunk if whole is None else whole + chunk
    return message_said(whole)


def prepared(place: Place, body: dict[str, Any]) -> Any:
    if not body.keys() <= {"messages", "max_tokens", "tools"}:
        raise NotOffered
    return claude(place).bind_tools(body["tools"]) if "tools" in body else claude(place)


def message_said(message: Any) -> dict[str, Any]:
    return {**said_of(message), "stop": message.response_metadata["stop_reason"]}


def message_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    bound = claude(place).bind_tools(functions)
    messages: list[Any] = [HumanMessage(prompt)]
    while True:
        answer = bound.invoke(messages)
        if not answer.tool_calls:
            return {"text": said_of(answer)["text"]}
        messages += [answer, *(ToolMessage("a wall", tool_call_id=call["id"]) for call in answer.tool_calls)]


serve(globals())
