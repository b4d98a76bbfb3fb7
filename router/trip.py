"""The bookkeeping of one request: its clocks, its attempts and their money, as rows for the ledger. No effects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from weighbridge.asks import words_in
from weighbridge.budgets import Hold
from weighbridge.cache import Kept, Verdict
from weighbridge.errors import CLIENT_GONE, OverBudget, ShuttingDown, UpstreamError, WeighbridgeError
from weighbridge.ledger.base import Closing, EndReason, Opening, Reservation, Settlement, Status
from weighbridge.metering import Meter, Share
from weighbridge.planning import Plan
from weighbridge.policies.base import Verification
from weighbridge.policies.evidence import Verdict as Judgement
from weighbridge.queues import Seat
from weighbridge.schemas import Request
from weighbridge.units import Price, Usage, cost_of
from weighbridge.unserved import turned_away, unsent

CIRCUIT_OPEN = "circuit_open"
BUSY = "busy"
LOADING = "loading"
DRAFT_REJECTED = "draft_rejected"  # the answer was whole and is paid for, and its client never saw it
Prices = Mapping[str, Price | None]  # by the upstream's name


@dataclass(slots=True)
class Attempt:
    """One call on the wire, as far as it has come. Times are monotonic seconds."""

    no: int
    upstream: str
    started_s: float
    reserved_nano_usd: int | None
    hold: Hold = field(default_factory=Hold)
    first_token_s: float | None = None
    share: Share | None = None  # of the energy that is drawn here
    is_aside: bool = False  # its answer is not the request's: it helped to make that
    took_s: float | None = None  # until its answer was whole, where that then had to wait for a verdict
    energy_mj: int | None = None  # until then
    ended: Settlement | None = None


class Trip:
    """One request's way through the gateway. Its methods follow the order of the way."""

    closes = True  # its end is the request's

    def __init__(
        self, request: Request, plan: Plan, prices: Prices, now: Callable[[], float], meter: Meter | None = None
    ) -> None:
        self.request = request
        self.plan = plan
        self._prices = prices
        self._now = now
        self._meter = meter or Meter()
        self.attempts: list[Attempt] = []
        self.attempt: Attempt  # the one under way, or the last one
        self._waited_s = 0.0  # for upstreams, so not our overhead
        self.overhead_s = 0.0
        self.cache: Verdict | None = None  # None where there is no cache
        self.keep_as: str | None = None  # under which key the cache may keep the answer
        self.kept: Kept | None = None  # the answer that is given again, without an attempt
        self.is_repeat = False  # ... because the request itself came again, under its Idempotency-Key
        # Upstreams that were left out, and why: "circuit_open", "busy", "loading", or a budget's name.
        self.skipped: dict[str, str] = {}
        self.helped: dict[str, str] = {}  # the steps that a local model was to do before, and what became of each
        self.counted: set[str] = set()  # the budgets' counters that have counted this request
        self.seat: Seat | None = None  # its place at an upstream that has a line
        self.verdict: Judgement | None = None  # on its draft, once there is one
        self.may_escalate = True  # somebody else is there to be asked

    @property
    def upstream(self) -> str:
        """Whose answer it is, or should be."""
        if self.attempts and self.attempt.is_aside:
            return self.plan.decision.upstream
        return self.kept.upstream if self.kept else self.attempt.upstream

    @property
    def made(self) -> int:
        """Attempts to answer, so far."""
        return sum(not attempt.is_aside for attempt in self.attempts)

    @property
    def was_fallback(self) -> bool:
        return self.upstream != self.plan.decision.upstream

    @property
    def verification(self) -> Verification | None:
        """How the answer of the attempt under way is judged; None where it is the answer, whatever it says."""
        decision = self.plan.decision
        if decision.verify is None or self.verdict or not self.may_escalate:
            return None
        return decision.verify if self.upstream == decision.upstream else None

    @property
    def has_escalated(self) -> bool:
        """The draft was discarded."""
        return self.verdict is not None and not self.verdict.is_accepted

    @property
    def is_as_planned(self) -> bool:
        """The upstream that should answer did: the chosen one, or after a discarded draft the other."""
        return self.was_fallback == self.has_escalated

    @property
    def score(self) -> float | None:
        """The classifier's word, where it can be believed."""
        found = self.plan.assessment
        return found.score if found and not found.abstained else None

    @property
    def reason(self) -> str:
        if self.plan.decision.verify is not None and (said := self._reason_of_draft()):
            return said
        if not self.was_fallback:
            return self.plan.decision.reason
        return self._reason_without(self.plan.decision.upstream)

    def _reason_of_draft(self) -> str | None:
        """None where the upstream that was to draft did not answer."""
        if self.has_escalated and not self.was_fallback:
            return self._reason_without(self.plan.decision.fallbacks[0])
        if self.has_escalated or (self.kept and self.was_fallback):
            return "cascade_escalated"
        if self.was_fallback:
            return None
        return "cascade_accepted" if self.verdict or self.kept else "below_threshold"

    def _reason_without(self, upstream: str) -> str:
        """It should have answered, and did not."""
        skipped = self.skipped.get(upstream, CIRCUIT_OPEN)
        return "fallback" if skipped in {CIRCUIT_OPEN, BUSY, LOADING} else "budget"

    @property
    def why(self) -> str:
        """The words after the reason."""
        if self.kept:
            return f"{'replay' if self.is_repeat else 'cache'} {self.kept.upstream}"
        if self.verdict and self.is_as_planned:
            return self.verdict.words
        if self.was_fallback or self.has_escalated:
            decision = self.plan.decision
            first = decision.upstream if self.was_fallback else decision.fallbacks[0]
            ended = [made.ended for made in self.attempts if made.ended and not made.is_aside]
            codes = (e.error_code for e in ended if e.error_code and e.error_code != DRAFT_REJECTED)
            return f"{first} {self.skipped.get(first) or next(codes, '')}".rstrip()
        return self.plan.decision.detail

    @property
    def total(self) -> Settlement:
        """The settlement that ended the request."""
        assert self.attempt.ended  # noqa: S101  # nobody asks before
        return self.attempt.ended

    @property
    def usage(self) -> Usage | None:
        """What the answer took; None where nobody knows."""
        last = self.total
        if last.input_tokens is None:
            return None
        return Usage(last.input_tokens, last.output_tokens or 0, last.cached_tokens or 0, last.usage_source)

    @property
    def unread_words(self) -> int:
        """How many more words the request has than the upstream says that it read tokens; no tokenizer has fewer."""
        last = self.total
        if last.usage_source != "provider" or last.input_tokens is None or self.attempt.is_aside:
            return 0
        if self.request.text_length < 8 * last.input_tokens:  # mostly it has four characters to a token
            return 0
        return max(0, words_in(self.request.messages) - last.input_tokens)

    def opening(self, *, store_prompt: bool) -> Opening:
        plan, request = self.plan, self.request
        return Opening(
            request_id=request.request_id,
            created_at=request.created_at,
            route=plan.target.route,
            model_asked=request.model[:200],
            caller=request.caller,
            reason=plan.decision.reason,
            reason_detail=plan.decision.detail,
            rule=plan.rule,
            fence=plan.fence,
            score=plan.assessment.score if plan.assessment else None,
            threshold=plan.decision.threshold,
            task=plan.assessment.task if plan.assessment else None,
            classifier=plan.classifier,
            is_stream=request.is_stream,
            tags=request.headers.get("x-litellm-tags"),
            prompt=request.body.text if store_prompt else None,
        )

    def worst(self, name: str) -> tuple[int | None, int]:
        """What an attempt at an upstream can take at worst: nano-USD, None where its price is unknown, and tokens."""
        request = self.request
        worst = Usage(request.estimated_input_tokens, request.most_output_tokens, source="estimated")
        cost = cost_of(worst, self._prices[name], self.plan.reach[name].limits.total_s)
        return cost, worst.input_tokens + worst.output_tokens

    def begin(self, name: str, hold: Hold) -> Reservation:
        """Start an attempt: what it may cost at worst is set aside."""
        upstream = self.plan.reach[name]
        reserved = self.worst(name)[0]
        share = self._meter.begin(name)
        if hold.amounts:
            self.counted |= hold.requests
        no = self.attempts[-1].no + 1 if self.attempts else 1
        self.attempt = Attempt(no, name, self._now(), reserved, hold, share=share)
        self.attempts.append(self.attempt)
        return Reservation(
            request_id=self.request.request_id,
            attempt_no=self.attempt.no,
            started_at=datetime.now(UTC),
            upstream=name,
            model=upstream.model,
            location=upstream.location,
            reserved_nano_usd=reserved,
        )

    def queued(self, seconds: float) -> None:
        """It stood in line: that is the upstream's time, not ours."""
        self._waited_s += seconds

    def drafted(self) -> float:
        """The draft is whole: what comes before the verdict is not its own time. Returns the seconds that it took."""
        attempt = self.attempt
        attempt.took_s = self._now() - attempt.started_s
        attempt.energy_mj = self._meter.end(attempt.share)
        self.stand_up()
        return attempt.took_s

    def stand_up(self) -> None:
        """Give the place back, if there is one."""
        if self.seat:
            self.seat.leave()

    def answered(self) -> None:
        """The upstream's answer, or its first chunk, is here: from now on the time is the client's."""
        now = self._now()
        self.attempt.first_token_s = now - self.attempt.started_s
        self._waited_s += now - self.attempt.started_s
        self.overhead_s = now - self.request.received_s - self._waited_s

    def succeeded(self, usage: Usage | None) -> Settlement:
        return self._settle("settled", "ok", None, usage)

    def failed(self, error: UpstreamError) -> Settlement:
        """The attempt failed before the first byte reached the client."""
        self._waited_s += self._now() - self.attempt.started_s
        # What the upstream may have worked on is not known to be free.
        status: Status = "unknown" if error.billable else "released"
        return self._settle(status, error.end_reason, error.code, None)  # type: ignore[arg-type]

    def discarded(self, usage: Usage) -> Settlement:
        """The attempt's answer was a draft, and not good enough: it is paid for, and another upstream is asked."""
        self._waited_s += self._now() - self.attempt.started_s
        return self._settle("settled", "ok", DRAFT_REJECTED, usage)

    def left_after(self, settlement: Settlement) -> Settlement:
        """The client left between two attempts: that is how the request ended, if not the one before."""
        self.attempt.ended = settlement._replace(end_reason="client_gone")
        return settlement

    def broken(self, end_reason: EndReason, code: str | None, output_tokens: int) -> Settlement:
        """The answer ended in the middle: cut, stalled, or the client left. What it cost is estimated."""
        if self.attempt.first_token_s is None:
            return self._settle("unknown", end_reason, code, None)
        usage = Usage(self.request.estimated_input_tokens, output_tokens, source="estimated")
        return self._settle("settled", end_reason, code, usage)

    def stopped(self, cancelled: BaseException, output_tokens: int) -> Settlement:
        """The request was cancelled: its client has left, or the gateway is being shut down."""
        if isinstance(cancelled, GeneratorExit) or CLIENT_GONE in cancelled.args:
            return self.broken("client_gone", None, output_tokens)
        return self.broken("error", ShuttingDown.code, output_tokens)

    def never_sent(self, end_reason: EndReason) -> Settlement:
        return self._settle("released", end_reason, None, None)

    def withdraw(self) -> None:
        """The last attempt could not be recorded, so there was none."""
        self.attempts.remove(self.attempt)
        if self.attempts:
            self.attempt = self.attempts[-1]

    def closing(self, http_status: int) -> Closing:
        """The whole request, from how its last attempt ended."""
        last = self.total
        upstream = self.plan.reach[self.attempt.upstream]
        costs = [attempt.ended.cost_nano_usd for attempt in self.attempts if attempt.ended]
        closing = Closing(
            request_id=self.request.request_id,
            status=last.status,
            end_reason=last.end_reason,
            http_status=http_status,
            error_code=last.error_code,
            upstream=self.attempt.upstream,
            model=upstream.model,
            location=upstream.location,
            reason=self.reason,
            attempts=len(self.attempts),
            input_tokens=last.input_tokens,
            output_tokens=last.output_tokens,
            cached_tokens=last.cached_tokens,
            usage_source=last.usage_source,
            cost_nano_usd=None if None in costs else sum(c for c in costs if c is not None),
            baseline_upstream=self.plan.baseline,
            baseline_cost_nano_usd=self._baseline_cost(last),
            price_version=last.price_version,
            ttft_s=self._ttft_s,
            latency_s=self._now() - self.request.received_s,
            overhead_s=self.overhead_s,
        )
        if not self.attempt.is_aside:
            return closing
        # It was helped with, and not answered.
        end_reason = "refused" if last.end_reason == "ok" else last.end_reason
        return closing._replace(upstream=None, model=None, location=None, end_reason=end_reason)

    @property
    def _ttft_s(self) -> float | None:
        """From the first attempt on: what was tried in vain is part of the wait."""
        last = self.attempt
        if last.first_token_s is None:
            return None
        return last.first_token_s + (last.started_s - self.attempts[0].started_s)

    def given_again(self, kept: Kept) -> Closing:
        """The request was answered from what was kept: no upstream had work, and the baseline would have had."""
        usage = kept.usage
        self.overhead_s = self._now() - self.request.received_s
        return unsent(self.request, self.reason)._replace(
            status="settled",
            end_reason="ok",
            http_status=200,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            usage_source=usage.source if usage else "none",
            baseline_upstream=self.plan.baseline,
            baseline_cost_nano_usd=self._cost_on_baseline(usage) if usage else None,
            latency_s=self.overhead_s,
            overhead_s=self.overhead_s,
        )

    def unanswered(self, error: WeighbridgeError) -> Closing:
        """The request ended before any attempt."""
        closing = turned_away(self.request, error)[1]
        return closing if isinstance(error, OverBudget) else closing._replace(reason=self.plan.decision.reason)

    def _baseline_cost(self, last: Settlement) -> int | None:
        """What the same tokens would have cost on the baseline. Without an answer there is nothing to compare."""
        prepared, usage = self.plan.prepared, self.usage
        is_remote = self.plan.reach[self.attempt.upstream].location == "remote"
        spared = prepared.spared_tokens if prepared and is_remote else 0
        if self.attempt.upstream == self.plan.baseline and usage and not spared:
            return last.cost_nano_usd
        if usage is None or self.attempt.is_aside:
            return None
        return self._cost_on_baseline(replace(usage, input_tokens=usage.input_tokens + spared) if spared else usage)

    def _cost_on_baseline(self, usage: Usage) -> int | None:
        price = self._prices[self.plan.baseline]
        if price and price.usd_per_second:
            return None  # priced by the second, and nobody knows how many it would have taken
        return cost_of(usage, price)

    def _settle(self, status: Status, end_reason: EndReason, code: str | None, usage: Usage | None) -> Settlement:
        attempt = self.attempt
        latency_s = attempt.took_s if attempt.took_s is not None else self._now() - attempt.started_s
        price = self._prices[attempt.upstream]
        settlement = Settlement(
            request_id=self.request.request_id,
            attempt_no=attempt.no,
            status=status,
            end_reason=end_reason,
            error_code=code,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            usage_source=usage.source if usage else "none",
            cost_nano_usd=_cost(status, usage, price, attempt, latency_s),
            price_version=price.version if price else None,
            ttft_s=None if attempt.first_token_s is None else min(attempt.first_token_s, latency_s),
            latency_s=latency_s,
            energy_mj=self._meter.end(attempt.share) if attempt.took_s is None else attempt.energy_mj,
        )
        attempt.ended = settlement
        return settlement


def _cost(status: Status, usage: Usage | None, price: Price | None, attempt: Attempt, latency_s: float) -> int | None:
    if usage:
        return cost_of(usage, price, latency_s)
    # What was released cost nothing, and so did what is free at worst; the rest nobody knows.
    return 0 if status == "released" or attempt.reserved_nano_usd == 0 else None
