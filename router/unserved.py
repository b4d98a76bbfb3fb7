"""The rows of a request that no upstream saw: it was denied, too long, over budget, or had nowhere to go. Pure."""

from weighbridge.errors import Denied, OverBudget, Refused, WeighbridgeError
from weighbridge.ledger.base import Closing, Opening
from weighbridge.schemas import Request

_REASONS = {Denied: "rule", Refused: "context_window", OverBudget: "budget"}


def turned_away(request: Request, error: WeighbridgeError) -> tuple[Opening, Closing]:
    """The rows of a request that no upstream saw."""
    reason = _REASONS.get(type(error), "fence")
    opening = Opening(
        request_id=request.request_id,
        created_at=request.created_at,
        route=None,
        model_asked=request.model[:200],
        caller=request.caller,
        reason=reason,
        reason_detail=error.code,
        rule=None,
        fence=None,
        score=None,
        threshold=None,
        task=None,
        classifier=None,
        is_stream=request.is_stream,
    )
    return opening, unsent(request, reason)._replace(http_status=error.status, error_code=error.code)


def unsent(request: Request, reason: str) -> Closing:
    """The end of a request that took nothing from anybody; who knows how it ended replaces that."""
    return Closing(
        request_id=request.request_id,
        status="released",
        end_reason="refused",
        http_status=0,
        error_code=None,
        upstream=None,
        model=None,
        location=None,
        reason=reason,
        attempts=0,
        input_tokens=None,
        output_tokens=None,
        cached_tokens=None,
        usage_source="none",
        cost_nano_usd=0,
        baseline_upstream=None,
        baseline_cost_nano_usd=None,
        price_version=None,
        ttft_s=None,
        latency_s=0.0,
        overhead_s=0.0,
    )
