"""Two scripted upstreams and a gateway before them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from running import RunningGateway, two_upstreams
from scripted import ScriptedUpstream

Start = Callable[..., RunningGateway]


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

        def begin(environ: dict[str, str] | None = None, **changes: Any) -> RunningGateway:
            config = two_upstreams(local.url, remote.url, **changes)
            return running.enter_context(RunningGateway(tmp_path, config, environ))

        yield begin


@pytest.fixture
def gateway(start: Start) -> RunningGateway:
    """A gateway whose constant score sends everything to the local upstream."""
    return start()


@pytest.fixture
def hard(start: Start) -> RunningGateway:
    """A gateway whose constant score sends everything to the remote upstream."""
    return start(classifier={"use": "constant", "score": 0.9})
