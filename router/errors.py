"""Everything that can go wrong, as the client sees it.

* WeighbridgeError            status, type, code, param, Retry-After, whether to try again
  x BadRequest                400  the request is malformed
    - TooLarge                413
    - ModelNotFound           404
    - NotFound                404
    - MethodNotAllowed        405
    - IdempotencyKeyReused    422  the key came with another body before
  x Unauthorized              401  no key, or a wrong one
  x Denied                    403  a rule or the fence says no
  x OverBudget                429  the caller's budget is used up
  x Busy                      429  every place is taken, and nobody else may answer
  x StillOpen                 409  the first request with this Idempotency-Key has no answer yet
  + UpstreamError             an upstream failed; another may be tried before the first byte
    - Refused                 its own 4xx about the request: passed on, never tried elsewhere
    - Incapable               400  it cannot do what the request needs; another may
    - NotServed               404  it has nothing at that path; another may
    - Limited                 429
    - Unreachable             503  no connection
    - Loading                 503  it is loading its model, which is not death
    - TimedOut                504  too slow
    - Failed                  502  answered 5xx, nonsense, or refused our key
    - Cut                     502  ended in the middle
  x Unavailable               503  nothing is left to try, or the ledger cannot be written
"""

from collections.abc import Mapping
from typing import ClassVar


class WeighbridgeError(Exception):
    """An error with an answer. `message` is for the client: no upstream URL, key or raw text in it."""

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    should_retry: ClassVar[bool | None] = None  # None: leave it to the client's own rule for the status

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code:
            self.code = code

    def body(self) -> dict[str, dict[str, str | None]]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(WeighbridgeError):
    status, type, code = 400, "invalid_request_error", "invalid_request"
    should_retry = False


class TooLarge(BadRequest):
    status, code = 413, "request_too_large"


class NotFound(BadRequest):
    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(BadRequest):
    status, code = 405, "method_not_allowed"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"{method[:20]} is not allowed on {path[:200]}.")


class IdempotencyKeyReused(BadRequest):
    status, code = 422, "idempotency_key_reused"

    def __init__(self) -> None:
        message = "This Idempotency-Key came with another body before: every request needs a key of its own."
        super().__init__(message, param="idempotency-key")


class StillOpen(WeighbridgeError):
    status, type, code = 409, "invalid_request_error", "idempotency_key_in_use"

    def __init__(self) -> None:
        message = "The first request with this Idempotency-Key is still being answered."
        super().__init__(message, param="idempotency-key", retry_after_s=1)


class Unauthorized(WeighbridgeError):
    status, type, code = 401, "authentication_error", "invalid_api_key"
    should_retry = False


class Denied(WeighbridgeError):
    status, type, code = 403, "permission_error", "policy_denied"
    should_retry = False


class OverBudget(WeighbridgeError):
    status, type, code = 429, "rate_limit_error", "budget_exceeded"
    should_retry = False


class Busy(WeighbridgeError):
    status, type, code = 429, "rate_limit_error", "local_busy"


class Unavailable(WeighbridgeError):
    status, code = 503, "upstream_unavailable"


class MemoryFull(Unavailable):
    code = "memory_full"

    def __init__(self) -> None:
        super().__init__("The gateway has no memory left for more (server.max_memory_mb).", retry_after_s=1)


CLIENT_GONE = "client_gone"  # the word with which a request is cancelled whose client has left; else we are stopping


class ShuttingDown(Unavailable):
    code = "server_shutdown"

    def __init__(self) -> None:
        super().__init__("The gateway is shutting down.", retry_after_s=1)


class UpstreamError(WeighbridgeError):
    """An upstream failed.

    billable: the upstream may have done the work, so what it cost is unknown rather than nothing.
    may_retry: nothing was received and it may pass, so the same upstream may be tried again.
    is_accident: it tripped over this one request, so it is tried once more before another upstream is.
    """

    status, code = 502, "upstream_error"
    headers: Mapping[str, str] = {}  # the upstream's own, as far as the client may see them
    billable: bool = True
    may_retry: bool = False
    is_accident: bool = False
    end_reason: str = "error"

    @property
    def may_fall_back(self) -> bool:
        return True


class Refused(UpstreamError):
    """The upstream's own 4xx: it reached the request and said no."""

    type, billable, end_reason = "invalid_request_error", False, "refused"
    should_retry = False

    def __init__(self, message: str, *, status: int, type: str, param: str | None, code: str | None) -> None:  # noqa: A002
        super().__init__(message, param=param)
        self.status, self.type, self.code = status, type, code or ""

    def body(self) -> dict[str, dict[str, str | None]]:
        body = super().body()
        body["error"]["code"] = self.code or None
        return body

    @property
    def may_fall_back(self) -> bool:
        # What is too long for one model may fit the next; every other refusal is about the request itself.
        return self.code == "context_length_exceeded"


class Incapable(Refused):
    """Nothing is wrong with the request, but this upstream cannot do it. Another one may."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "unsupported_by_upstream") -> None:
        super().__init__(message, status=400, type="invalid_request_error", param=param, code=code)

    @property
    def may_fall_back(self) -> bool:
        return True


class NotServed(Incapable):
    """The upstream has nothing at the path asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The upstream does not serve {path}.", code="not_found")
        self.status = 404


class Limited(UpstreamError):
    status, type, code, billable, end_reason = 429, "rate_limit_error", "rate_limit_exceeded", False, "refused"


class Unreachable(UpstreamError):
    status, code, billable = 503, "upstream_unavailable", False


class Loading(UpstreamError):
    """It is there, and loads its model. What that is waited for is the upstream's to say."""

    status, code, billable, may_retry = 503, "upstream_loading", False, True


class TimedOut(UpstreamError):
    status, code, end_reason = 504, "upstream_timeout", "timeout"


class Failed(UpstreamError):
    pass


class Cut(UpstreamError):
    code, end_reason = "upstream_cut", "upstream_cut"
