"""LlamaIndex, with its models for OpenAI-like servers."""

import asyncio
import json
from typing import Any

from acting import Place, serve
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, create_model


class City(BaseModel):
    """A city."""

    name: str
    people: int


def model_of(place: Place, **more: Any) -> OpenAILike:
    fields = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 8192, "timeout": 20}
    return OpenAILike(api_base=place.url, api_key=place.key, model=place.model, max_retries=0, **fields | more)


def asked(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=prompt)]


def chat(place: Place, prompt: str) -> dict[str, Any]:
    answer = model_of(place).chat(asked(prompt))
    usage = answer.raw.usage
    return {
        "text": answer.message.content,
        "model": answer.raw.model,
        "usage": [usage.prompt_tokens, usage.completion_tokens],
    }


def stream(place: Place, prompt: str) -> dict[str, Any]:
    return {"text": "".join(chunk.delta or "" for chunk in model_of(place).stream_chat(asked(prompt)))}


def looking(functions: list[dict[str, Any]]) -> list[FunctionTool]:
    arguments = create_model("look", place=(str, ...), how=(str, "short"))
    function = functions[0]["function"]
    about = ToolMetadata(name=function["name"], description=function["description"], fn_schema=arguments)
    return [FunctionTool(fn=lambda **_: "a wall", metadata=about)]


def tools(place: Place, prompt: str, functions: list[dict[str, Any]], streamed: bool = False) -> dict[str, Any]:
    model, given = model_of(place), looking(functions)
    if streamed:
        *_, answer = model.stream_chat_with_tools(given, prompt, allow_parallel_tool_calls=True)
    else:
        answer = model.chat_with_tools(given, prompt, allow_parallel_tool_calls=True)
    calls = model.get_tool_calls_from_response(answer)
    return {"calls": [{"id": c.tool_id, "name": c.tool_name, "arguments": c.tool_kwargs} for c in calls]}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    model, given, messages = model_of(place), looking(functions), asked(prompt)
    while True:
        answer = model.chat_with_tools(given, chat_history=messages, allow_parallel_tool_calls=True)
        calls = model.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        if not calls:
            return {"text": answer.message.content}
        messages.append(answer.message)
        messages += [
            ChatMessage(role="tool", content="a wall", additional_kwargs={"tool_call_id": call.tool_id})
            for call in calls
        ]


def parse(place: Place, prompt: str) -> dict[str, Any]:
    model = model_of(place, should_use_structured_outputs=True)
    answer = model.as_structured_llm(City).complete(prompt)
    return {"parsed": json.loads(answer.text)}


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    message = ChatMessage(role="user", blocks=[TextBlock(text=prompt), ImageBlock(url=url)])
    return {"text": model_of(place).chat([message]).message.content}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    async def giving_up() -> dict[str, Any]:
        if streamed:
            running = await model_of(place).astream_chat(asked(prompt))
            async for _ in running:
                await running.aclose()
                return {"left": True}
        try:
            await asyncio.wait_for(model_of(place).achat(asked(prompt)), 0.8)
        except TimeoutError:
            return {"left": True}
        return {"left": False}

    return asyncio.run(giving_up())


def complete(place: Place, prompt: str) -> dict[str, Any]:
    return {"texts": [model_of(place, is_chat_model=False).complete(prompt).text]}


def complete_stream(place: Place, prompt: str) -> dict[str, Any]:
    parts = model_of(place, is_chat_model=False).stream_complete(prompt)
    return {"text": "".join(part.delta or "" for part in parts), "finishes": ["stop"], "usages": []}


def embed(place: Place, texts: list[str]) -> dict[str, Any]:
    model = OpenAILikeEmbedding(model_name=place.model, api_base=place.url, api_key=place.key, max_retries=0)
    return {"vectors": model.get_text_embedding_batch(texts)}


serve(globals())
