"""What the tests of every real server share: the other side, and OpenAI's own client before the gateway."""

from collections.abc import Iterator

import openai
import pytest
from running import RunningGateway
from scripted import ScriptedUpstream


@pytest.fixture
def remote() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0, timeout=120) as connected:
        yield connected
