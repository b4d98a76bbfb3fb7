"""The same upstreams and gateway as in tests/e2e, with limits short enough to be met in a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from running import RunningGateway, two_upstreams
from scripted import ScriptedUpstream

Start = Callable[..., RunningGateway]
LIMITS = {"connect_s": 1, "first_token_s": 0.5, "idle_s": 0.5, "total_s": 2}


@pytest.fixture
def local() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def remote() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def start(tmp_path: Path, local: ScriptedUpstream, remote: ScriptedUpstream) -> Iterator[Start]:
    """Start a gateway before the two upstreams, with these tables of the config changed."""
    with ExitStack() as running:

        def begin(**changes: Any) -> RunningGateway:
            config = two_upstreams(local.url, remote.url, **changes)
            for upstream in config["upstreams"].values():
                upstream["limits"] = LIMITS
            return running.enter_context(RunningGateway(tmp_path, config))

        yield begin
