"""What every client program in Python does: read an act from a line, do it with the real client, write what came of it.

A program defines functions by the names of acts and ends with `serve(globals())`. It needs nothing but its client: no
other file of the project is in its environment.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where the gateway is and what to ask it for. url: with /v1, as OpenAI's clients want it; root: without."""

    url: str
    root: str
    key: str
    model: str


class NotOffered(Exception):
    """The client has no way to say this."""


def serve(acts: Mapping[str, Callable[..., Any]]) -> None:
    """One JSON line in, one out, until there are no more."""
    # What a library prints must not come between our lines.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        function = acts.get(asked["act"])
        answer = {"absent": True} if function is None else _done(function, Place(**asked["place"]), asked["arguments"])
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()


def _done(function: Callable[..., Any], place: Place, arguments: dict[str, Any]) -> dict[str, Any]:
    missing = arguments.keys() - inspect.signature(function).parameters.keys()
    if missing:
        return {"absent": True}
    try:
        return {"said": function(place, **arguments)}
    except NotOffered:
        return {"absent": True}
    except Exception as error:  # whatever the client raises is what this is about
        return {"raised": _described(error)}


def _described(error: BaseException) -> dict[str, Any]:
    """An exception as its user sees it: the first in its chain that knows a status, else the outermost."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    known = next((e for e in chain if isinstance(getattr(e, "status_code", None), int)), error)
    response = getattr(known, "response", None)
    headers = {name.lower(): value for name, value in getattr(response, "headers", {}).items()}
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "status": getattr(known, "status_code", None),
        "code": getattr(known, "code", None),
        "param": getattr(known, "param", None),
        "body": getattr(known, "body", None),
        "headers": headers,
    }
