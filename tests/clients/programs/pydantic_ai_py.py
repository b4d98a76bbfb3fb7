"""pydantic-ai, with its models for OpenAI's chat and Responses and for Anthropic's Messages."""

import asyncio
from typing import Any

import anthropic
import openai
from acting import Place, serve
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """A city."""

    name: str
    people: int


def look(place: str, how: str = "short") -> str:
    """Look at a place."""
    return "a wall"


def provider(place: Place) -> OpenAIProvider:
    sdk = openai.AsyncOpenAI(base_url=place.url, api_key=place.key, max_retries=0, timeout=20)
    return OpenAIProvider(openai_client=sdk)


def agent(place: Place, **more: Any) -> Agent[None, Any]:
    return Agent(OpenAIChatModel(place.model, provider=provider(place)), retries=0, **more)


def claude(place: Place, **more: Any) -> Agent[None, Any]:
    sdk = anthropic.AsyncAnthropic(base_url=place.root, api_key=place.key, max_retries=0)
    model = AnthropicModel(place.model, provider=AnthropicProvider(anthropic_client=sdk))
    return Agent(model, retries=0, model_settings={"max_tokens": 100}, **more)


def chat(place: Place, prompt: str) -> dict[str, Any]:
    result = asyncio.run(agent(place).run(prompt))
    last = result.all_messages()[-1]
    return {
        "text": result.output,
        "model": last.model_name,
        "usage": [last.usage.input_tokens, last.usage.output_tokens],
        "finish": last.finish_reason or "stop",
    }


def stream(place: Place, prompt: str) -> dict[str, Any]:
    async def streaming() -> str:
        async with agent(place).run_stream(prompt) as running:
            return "".join([part async for part in running.stream_text(delta=True)])

    return {"text": asyncio.run(streaming())}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"text": asyncio.run(agent(place, tools=[look]).run(prompt)).output}


def parse(place: Place, prompt: str) -> dict[str, Any]:
    return {"parsed": asyncio.run(agent(place, output_type=NativeOutput(City)).run(prompt)).output.model_dump()}


def parse_by_tool(place: Place, prompt: str) -> dict[str, Any]:
    output = ToolOutput(City, name="City")
    return {"parsed": asyncio.run(agent(place, output_type=output).run(prompt)).output.model_dump()}


def image(place: Place, prompt: str, url: str) -> dict[str, Any]:
    return {"text": asyncio.run(agent(place).run([prompt, BinaryContent.from_data_uri(url)])).output}


def leave(place: Place, prompt: str, streamed: bool) -> dict[str, Any]:
    async def giving_up() -> dict[str, Any]:
        if streamed:
            async with agent(place).run_stream(prompt) as running:
                async for _ in running.stream_text(delta=True):
                    return {"left": True}
        try:
            await asyncio.wait_for(agent(place).run(prompt), 0.8)
        except TimeoutError:
            return {"left": True}
        return {"left": False}

    return asyncio.run(giving_up())


def respond_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    model = OpenAIResponsesModel(place.model, provider=provider(place))
    return {"text": asyncio.run(Agent(model, retries=0, tools=[look]).run(prompt)).output}


def message_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"text": asyncio.run(claude(place, tools=[look]).run(prompt)).output}


serve(globals())
