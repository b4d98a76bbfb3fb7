"""instructor: structured output, in several ways."""

from typing import Any

import instructor
import openai
from acting import Place, serve
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


def client(place: Place, mode: instructor.Mode) -> Any:
    sdk = openai.OpenAI(base_url=place.url, api_key=place.key, max_retries=0, timeout=20)
    return instructor.from_openai(sdk, mode=mode)


def parse(place: Place, prompt: str) -> dict[str, Any]:
    city = client(place, instructor.Mode.JSON_SCHEMA).chat.completions.create(
        model=place.model, messages=[{"role": "user", "content": prompt}], response_model=City, max_retries=0
    )
    return {"parsed": city.model_dump()}


def parse_by_tool(place: Place, prompt: str, streamed: bool = False) -> dict[str, Any]:
    fields = {"model": place.model, "messages": [{"role": "user", "content": prompt}]}
    completions = client(place, instructor.Mode.TOOLS).chat.completions
    if streamed:
        *_, city = completions.create_partial(response_model=City, **fields)
    else:
        city = completions.create(response_model=City, max_retries=0, **fields)
    return {"parsed": city.model_dump()}


serve(globals())
