"""Every provider that litellm knows. The only file that imports litellm, and only once such an upstream is opened."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import orjson
from pydantic import Field, PrivateAttr

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import Cut, Failed, Incapable, Refused, TimedOut, Unreachable, UpstreamError
from weighbridge.upstreams.base import Completion, Limits, Stream, Upstream
from weighbridge.upstreams.families import Quirk, suited
from weighbridge.upstreams.http import refusal
from weighbridge.wire import Body, error_fields, usage_of

# What litellm takes by name and translates for each provider. Everything else that it takes by name (`api_base`,
# `mock_response`, a provider's credentials and endpoints) is the operator's business: a client that could set it could
# have our key sent to an address of its own.
_TRANSLATED = frozenset(
    (
        *("messages", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "max_completion_tokens", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "stream_options", "service_tier"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "web_search_options"),
        *("reasoning_effort", "thinking", "verbosity", "prediction", "response_format", "modalities", "audio"),
        *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "store"),
    )
)
# Fields of other vendors that are harmless and wanted; providers with an API of their own get no other unknown field.
_VENDORS = frozenset(("top_k", "min_p", "repetition_penalty", "cache_control", "safety_settings"))
_OURS = frozenset(("model", "stream"))
_VISIBLE = ("x-ratelimit-", "openai-processing-ms", "retry-after")

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it downloads its price table while it is imported
    "LITELLM_MODE": "PRODUCTION",  # else it reads a .env from the working directory
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",  # else it fetches whatever address a prompt names
}


class LiteLLM(Upstream):
    """`model` as litellm names it: "anthropic/claude-...", "bedrock/...", "gemini/...".

    api_key_env: without it litellm reads the provider's usual variable.
    drop_params: leave out what the provider does not know; otherwise such a request is refused, or goes elsewhere.
    options: further arguments of litellm's `completion` for every request: aws_region_name, api_version, ...
    """

    api_key_env: str = ""
    base_url: str | None = None
    drop_params: bool = False
    options: dict[str, Any] = Field(default_factory=dict)

    _litellm: ModuleType = PrivateAttr()
    _quirks: frozenset[Quirk] | None = PrivateAttr(default=None)
    _is_openai_like: bool = PrivateAttr(default=False)

    async def aopen(self) -> None:
        # Seconds of imports: not on the event loop.
        self._litellm = await asyncio.to_thread(_load)
        self._is_openai_like = self._provider() in {
            *self._litellm.openai_compatible_providers,
            "openai",
            "azure",
            "custom_openai",
        }

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        answer = await self._call(await self._suited(body), self.limits.total_s)
        fields = _tidied(answer.model_dump(exclude_none=True, warnings=False), "message")
        if not fields.get("choices"):
            raise Failed("The upstream's answer is not a chat completion.", code="upstream_malformed")
        return Completion(orjson.dumps(fields), usage_of(fields.get("usage")), _headers(answer))

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        asked = body.fields.get("stream_options") or {}
        chunks = await self._call(
            await self._suited(body),
            self.limits.first_token_s,
            stream=True,
            stream_options={**asked, "include_usage": True},
        )
        return _LiteLLMStream(chunks, self.limits)

    async def check(self) -> str:
        key = f"the key in {self.api_key_env}" if self.api_key_env else "the provider's usual variables"
        if self.api_key_env and not os.environ.get(self.api_key_env):
            raise Failed(f"The environment variable {self.api_key_env} is not set.", code="upstream_auth")
        found = await asyncio.to_thread(self._litellm.validate_environment, self.model)
        if not self.api_key_env and not self.base_url and found["missing_keys"]:
            raise Failed(f"Not set in the environment: {', '.join(found['missing_keys'])}.", code="upstream_auth")
        return f"litellm reaches {self.model} through {self._provider()} with {key}; not called"

    async def aclose(self) -> None:
        await self._litellm.close_litellm_async_clients()

    async def _suited(self, body: Body) -> Body:
        if self._quirks is None:
            self._quirks = await self.known_quirks()
        return suited(body, self._quirks, self.task_prefix)

    def _provider(self) -> str:
        """The provider that the model's name means."""
        try:
            return str(self._litellm.get_llm_provider(self.model, api_base=self.base_url)[1])
        except self._litellm.BadRequestError:
            raise Failed(
                f"litellm does not know the provider of {self.model}: write PROVIDER/MODEL.", code="upstream_unknown"
            ) from None

    async def _call(self, body: Body, patience_s: float, **more: Any) -> Any:
        import httpx  # noqa: PLC0415  # comes with litellm, and is only wanted here

        arguments = {
            **self._arguments(self._taken(body)),
            **more,
            "timeout": httpx.Timeout(self.limits.total_s, connect=self.limits.connect_s),
        }
        try:
            async with asyncio.timeout(min(patience_s, self.limits.total_s)):
                return await self._litellm.acompletion(**arguments)
        except Exception as error:  # litellm raises whatever its many providers raise
            raise _mapped(error) from error

    def _taken(self, body: Body) -> Mapping[str, Any]:
        """Without what only the gateway asks for, where the provider has no such field: litellm would refuse it all."""
        if not body.added:
            return body.fields
        known = self._litellm.get_supported_openai_params(model=self.model) or ()
        return {name: value for name, value in body.fields.items() if name not in body.added or name in known}

    def _arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What to call litellm with for an OpenAI chat body."""
        given = {name: value for name, value in fields.items() if value is not None and name not in _OURS}
        arguments = {name: value for name, value in given.items() if name in _TRANSLATED}
        others = {name: value for name, value in given.items() if name not in _TRANSLATED}
        if self._is_openai_like:
            arguments["extra_body"] = others
        else:
            arguments |= {name: value for name, value in others.items() if name in _VENDORS}
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        return {
            **arguments,
            **self.options,
            **({"api_key": key} if key else {}),
            **({"base_url": self.base_url} if self.base_url else {}),
            "model": self.model,
            "drop_params": self.drop_params,
            # The gateway decides what is tried again, and where.
            "num_retries": 0,
            "max_retries": 0,
            # A tool of the client's must not make the gateway call other servers.
            "_skip_mcp_handler": True,
        }


class _LiteLLMStream(Stream):
    """litellm's chunks as they come."""

    def __init__(self, chunks: Any, limits: Limits) -> None:
        self._chunks = chunks
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + limits.total_s
        self._has_begun = False
        self._is_over = False

    async def read(self) -> list[bytes]:
        if self._is_over:
            return []
        patience_s = self._limits.idle_s if self._has_begun else self._limits.first_token_s
        try:
            async with asyncio.timeout_at(min(self._end, self._loop.time() + patience_s)):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._is_over = True
            return [b"[DONE]"]
        except Exception as error:  # litellm raises whatever its many providers raise
            self._is_over = True
            raise _mapped(error) from error
        self._has_begun = True
        return [self._event(chunk)]

    async def aclose(self) -> None:
        self._is_over = True
        await self._chunks.aclose()

    def _event(self, chunk: Any) -> bytes:
        fields = _tidied(chunk.model_dump(exclude_none=True, warnings=False), "delta")
        choices = fields.get("choices", [])
        if any(choice["finish_reason"] for choice in choices) and not self._is_honest():
            self._is_over = True
            raise Cut("The upstream ended its answer in the middle.")
        if "usage" in fields and not any(choice["delta"] or choice["finish_reason"] for choice in choices):
            fields["choices"] = []
        return orjson.dumps(fields)

    def _is_honest(self) -> bool:
        """Did the provider itself give the finish reason? litellm makes up a "stop" for an answer that was cut."""
        return bool(self._chunks.received_finish_reason or self._chunks.intermittent_finish_reason)


def _load() -> ModuleType:
    """Import litellm, quiet and offline."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import litellm  # noqa: PLC0415

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.callbacks = []
    litellm.success_callback = []
    litellm.failure_callback = []
    return litellm  # type: ignore[no-any-return]


def _tidied(fields: dict[str, Any], part: str) -> dict[str, Any]:
    """An answer without what litellm adds, and with the nulls that clients look for."""
    for choice in fields.get("choices", ()):
        choice.setdefault("finish_reason", None)
        choice.pop("provider_specific_fields", None)
        said = choice.setdefault(part, {})
        # litellm moves the fields that it does not know to a corner of its own.
        choice[part] = {**(said.pop("provider_specific_fields", None) or {}), **said}
        if part == "message":
            choice[part].setdefault("content", None)
    return fields


def _headers(answer: Any) -> dict[str, str]:
    headers = (getattr(answer, "_hidden_params", None) or {}).get("additional_headers") or {}
    return {name: str(value) for name, value in headers.items() if name.startswith(_VISIBLE)}


def _mapped(error: Exception) -> UpstreamError:
    """An exception of litellm's in our words.

    Its classes say little (a refused connection is an "internal server error", a 503 can be a "bad request"), but what
    the provider really answered hangs on the chain of causes.
    """
    chain = list(_causes(error))
    if any(type(cause).__name__ in _NO_CONNECTION for cause in chain):
        return Unreachable("The upstream cannot be reached.")
    for cls in type(error).__mro__:
        if make := _TABLE.get(cls.__name__):
            return make(error)
    answered = next((found for cause in chain if (found := _answered(cause))), None)
    if answered is None:
        return _guessed(error)
    return refusal(*answered)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _answered(cause: BaseException) -> tuple[int, Mapping[str, str], bytes] | None:
    """Status, headers and body of the provider's answer, if this exception holds it. litellm's stand-ins are empty."""
    response = getattr(cause, "response", None)
    try:
        raw = getattr(response, "content", b"")
    except RuntimeError:  # the body of a stream that nobody read
        return None
    return (response.status_code, response.headers, raw) if response is not None and raw else None


def _guessed(error: Exception) -> UpstreamError:
    """A failure without an answer: litellm refused the request itself, or broke on what it got."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500:
        return refusal(status, {}, orjson.dumps({"error": _message(error)}))
    return Failed("The upstream's answer cannot be read.", code="upstream_malformed")


def _refused(code: str) -> Callable[[Exception], UpstreamError]:
    def make(error: Exception) -> UpstreamError:
        return Refused(_message(error), status=400, type="invalid_request_error", param=None, code=code)

    return make


def _timed_out(error: Exception) -> UpstreamError:
    return TimedOut("The upstream did not answer in time.")


def _message(error: Exception) -> str:
    """The provider's own words out of litellm's, without addresses and keys."""
    text = re.sub(r"^(?:litellm\.)?(?:\w+(?:Error|Exception)(?: -|:) )+", "", str(getattr(error, "message", error)))
    text = text.replace("litellm.", "")
    own = error_fields(text.encode())[0] or error_fields(orjson.dumps({"error": text}))[0]
    return own or "The upstream refused the request."


_NO_CONNECTION = frozenset(("ConnectError", "ConnectTimeout", "ClientConnectorError"))

# What litellm itself knows better than the provider's status says.
_TABLE: Mapping[str, Callable[[Exception], UpstreamError]] = {
    "ContextWindowExceededError": _refused("context_length_exceeded"),
    "ContentPolicyViolationError": _refused("content_policy_violation"),
    "UnsupportedParamsError": lambda error: Incapable(_message(error)),
    "ImageFetchError": lambda error: Incapable("This upstream takes images as data: URLs; addresses are not fetched."),
    "LiteLLMUnknownProvider": lambda error: Failed("litellm does not know this provider.", code="upstream_unknown"),
    "MidStreamFallbackError": lambda error: Cut("The upstream ended its answer in the middle."),
    "Timeout": _timed_out,
    "TimeoutError": _timed_out,
}
