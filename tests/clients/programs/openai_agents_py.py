"""openai-agents: OpenAI's own agent framework, over Responses and over chat completions."""

import asyncio
from typing import Any

import openai
from acting import NotOffered, Place, serve
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    """A city."""

    name: str
    people: int


@function_tool
def look(place: str, how: str = "short") -> str:
    """Look at a place."""
    return "a wall"


def agent(place: Place, kind: type[Any] = OpenAIChatCompletionsModel, **more: Any) -> Agent[Any]:
    sdk = openai.AsyncOpenAI(base_url=place.url, api_key=place.key, max_retries=0, timeout=20)
    return Agent(name="one", model=kind(model=place.model, openai_client=sdk), **more)


def chat(place: Place, prompt: str) -> dict[str, Any]:
    result = asyncio.run(Runner.run(agent(place), prompt))
    usage = result.raw_responses[0].usage
    return {"text": result.final_output, "usage": [usage.input_tokens, usage.output_tokens]}


async def streamed_text(running: Any) -> str:
    events = [event.data async for event in running.stream_events() if event.type == "raw_response_event"]
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def stream(place: Place, prompt: str) -> dict[str, Any]:
    async def streaming() -> str:
        return await streamed_text(Runner.run_streamed(agent(place), prompt))

    return {"text": asyncio.run(streaming())}


def loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"text": asyncio.run(Runner.run(agent(place, tools=[look]), prompt)).final_output}


def parse(place: Place, prompt: str) -> dict[str, Any]:
    return {"parsed": asyncio.run(Runner.run(agent(place, output_type=City), prompt)).final_output.model_dump()}


def respond_loop(place: Place, prompt: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
    result = asyncio.run(Runner.run(agent(place, OpenAIResponsesModel, tools=[look]), prompt))
    return {"text": result.final_output}


def respond_parse(place: Place, prompt: str) -> dict[str, Any]:
    running = agent(place, OpenAIResponsesModel, output_type=City)
    return {"parsed": asyncio.run(Runner.run(running, prompt)).final_output.model_dump()}


def respond(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    result = asyncio.run(Runner.run(agent(place, OpenAIResponsesModel), plain(body)))
    usage = result.raw_responses[0].usage
    return {"text": result.final_output, "usage": [usage.input_tokens, usage.output_tokens]}


def respond_stream(place: Place, body: dict[str, Any]) -> dict[str, Any]:
    async def streaming() -> str:
        return await streamed_text(Runner.run_streamed(agent(place, OpenAIResponsesModel), plain(body)))

    return {"text": asyncio.run(streaming())}


def plain(body: dict[str, Any]) -> str:
    if body.keys() != {"input"} or not isinstance(body["input"], str):
        raise NotOffered
    prompt: str = body["input"]
    return prompt


serve(globals())
