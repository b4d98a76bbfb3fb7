"""Before the wire: what a model name stands for, what a request may reach, and where it goes.

The order is fixed: name, rules, fence, session, then the policy with the classifier's score. The fence is a filter on
the upstreams themselves: what it leaves out is not in the plan, so no later step can pick it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from weighbridge import sessions
from weighbridge.asks import whole_text
from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.config import Config
from weighbridge.errors import BadRequest, Denied, ModelNotFound, NotFound, Refused, Unavailable
from weighbridge.policies.base import Decision, Situation
from weighbridge.policies.facts import Facts
from weighbridge.policies.rules import Rule
from weighbridge.preprocess.base import Doubt, Prepared
from weighbridge.preprocess.preparing import prepared
from weighbridge.schemas import Request, text_of
from weighbridge.specialists import by_task, is_open
from weighbridge.tables import Route
from weighbridge.units import most_tokens
from weighbridge.upstreams.base import Upstream

Assess = Callable[[str], Awaitable[Assessment | None]]
Pressure = Callable[[str, str], Awaitable[float]]
Recall = Callable[[str], Awaitable[str | None]]

_ROUTELLM = re.compile(r"router-.+-(\d*\.?\d+)")
_LONG_TEXT = 100_000  # characters
_POINTS = ("cost", "balanced", "quality")


@dataclass(frozen=True, slots=True)
class Target:
    """What a model name stands for.

    pin: the one upstream asked for. threshold: the operating point asked for, by number or by name.
    is_local_only: the client asked to stay on this machine, which fences as a rule does.
    """

    route: str
    pin: str | None = None
    threshold: float | str | None = None
    is_local_only: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a request goes, and everything that it may reach."""

    target: Target
    decision: Decision
    reach: Mapping[str, Upstream]
    assessment: Assessment | None
    rule: str | None
    fence: str | None
    baseline: str
    is_buffered: bool = False  # a stream is read whole before its first byte leaves, so that another can take over
    classifier: str | None = None  # the version of the one that scored it
    prepared: Prepared | None = None  # what a remote upstream is sent, where a rule asks for it
    assists: frozenset[str] = frozenset()  # the steps that a local model does before that

    @property
    def chain(self) -> tuple[str, ...]:
        """The upstreams to try, in order, once each."""
        return (self.decision.upstream, *self.decision.fallbacks)

    @property
    def steps(self) -> list[str]:
        """What is planned before a remote upstream of the chain sees it, in order; none where all of it is local."""
        is_away = [self.reach[name].location == "remote" for name in self.chain]
        redacts = ["redact"] if self.prepared and any(is_away) else []
        return redacts + [step for step in ("compress", "clean") if step in self.assists and is_away[0]]


class Planner:
    """Makes a plan for each request. It asks the classifier for a score, and the ledger for where a session is."""

    def __init__(
        self,
        config: Config,
        classifier: Classifier | None,
        assess: Assess | None,
        recall: Recall | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self._recall = recall
        self._pressure = pressure
        self._routes = config.routes
        self._rules: Sequence[Rule] = config.rules
        self._upstreams: Mapping[str, Upstream] = config.upstreams
        self._local = {name: u for name, u in config.upstreams.items() if u.location == "local"}
        self._targets = _targets(config)
        self._thresholds = classifier.thresholds if classifier else {}
        self._version = classifier.version if classifier else None
        self._assess = assess
        self._rules_need_text = any(rule.needs_text for rule in config.rules)

    @property
    def names(self) -> dict[str, Target]:
        """Every name that a client may ask for, lower case; routes first, then upstreams."""
        return self._targets

    async def plan(self, request: Request) -> Plan:
        """Raises ModelNotFound, Denied, Refused (too long for all in reach) or Unavailable (nothing in reach)."""
        target = self._target(request)
        route = self._routes[target.route]
        asked = _Asked(request, self._assess)
        rule, preparing = await self._rules_for(request, asked)
        if rule and rule.then.deny is not None:
            raise Denied(rule.then.deny)
        fence = "local" if target.is_local_only or (rule and rule.then.fence) else None
        redacting = [rule for rule in preparing if "redact" in rule.then.preprocess]
        ready, doubt = await _prepared(request, redacting) if redacting and not fence else (None, None)
        fence = "local" if doubt else fence
        reach = self._local if fence else self._upstreams
        if not reach:
            message = "The request must stay on a local upstream, and none is configured."
            raise Unavailable(message, code="local_unavailable")
        decision = await self._session(request, target, reach) or _without_score(route, target, rule, fence, reach)
        if not request.dialect.is_scored:
            decision = _serving(request.dialect.path, route, target, reach, decision)
        if decision is None:
            assessment = await asked.assessment() if route.policy.needs_score else None
            pressure = await self._pressure(request.caller, target.route) if self._pressure else 0.0
            decision = route.policy.decide(self._situation(route, target, assessment, pressure))
        is_named = decision.reason == "pinned" and not target.is_local_only
        if is_open(decision, route) and not is_named and request.dialect.is_scored:
            decision = by_task(decision, route, await asked.assessment(), reach)
        if doubt and decision.reason == "fence":
            decision = replace(decision, detail=f"{redacting[0].name}: {doubt}")
        name = rule.name if rule else preparing[0].name if preparing else None
        return Plan(
            target=target,
            decision=_fitting(decision, reach, request),
            reach=reach,
            assessment=asked.found,
            rule=name,
            fence=fence,
            baseline=route.baseline,
            is_buffered=route.recovery == "buffer",
            classifier=self._version if asked.found else None,
            prepared=ready,
            assists=frozenset(step for rule in preparing for step in rule.then.preprocess if step != "redact"),
        )

    def target(self, model: str) -> Target:
        """What a model name stands for. Raises ModelNotFound."""
        name = model.strip().lower()
        if found := self._targets.get(name) or self._targets.get(name.removeprefix("weighbridge/")):
            return found
        if routellm := _ROUTELLM.fullmatch(name):
            threshold = float(routellm[1])
            if threshold > 1:
                raise BadRequest(f"The threshold in {model[:80]!r} is above 1.", param="model")
            return Target(next(iter(self._routes)), threshold=threshold)
        raise ModelNotFound(
            f"The model {model[:200]!r} does not exist. GET /v1/models lists those that do.", param="model"
        )

    def _target(self, request: Request) -> Target:
        try:
            return self.target(request.model)
        except ModelNotFound:
            if request.dialect.knows_our_models:
                raise
            return Target(next(iter(self._routes)))

    async def _session(self, request: Request, target: Target, reach: Mapping[str, Upstream]) -> Decision | None:
        """Where the session of a request goes on, if it must not change its model now."""
        if self._recall is None or target.pin:
            return None
        if earlier := request.dialect.goes_on_from(request.body.fields):
            name = await self._recall(sessions.response_key(request.caller, earlier))
            if name is None or name not in reach:
                raise BadRequest(
                    f"There is no response {earlier[:80]!r} that this request may go on from.",
                    param="previous_response_id",
                    code="previous_response_not_found",
                )
            return Decision(name, (), "session", "the earlier response is there")
        if len(reach) < 2:
            return None
        if sessions.is_signed(request):
            name = await self._recall(sessions.conversation_key(request, target.route))
            return Decision(name, (), "session", "the history is signed there") if name and name in reach else None
        if sessions.is_in_tool_loop(request.messages):
            name = await self._recall(sessions.loop_key(request, target.route))
            route = self._routes[target.route]
            others = tuple(n for n in dict.fromkeys((route.small, route.large)) if n in reach and n != name)
            return Decision(name, others, "session", "a tool loop goes on there") if name and name in reach else None
        return None

    async def _rules_for(self, request: Request, asked: "_Asked") -> tuple[Rule | None, list[Rule]]:
        """The first rule that matches and decides, and all that match and say what is done before a remote upstream.

        The classifier is asked when the first rule that needs its word has its turn.
        """
        decider: Rule | None = None
        preparing: list[Rule] = []
        if not self._rules:
            return decider, preparing
        facts = _facts(request, whole_text(request.body.fields) if self._rules_need_text else "")
        for rule in self._rules:
            if decider and rule.then.decides:
                continue
            if rule.needs_score or rule.needs_task:
                facts = facts.with_assessment(await asked.assessment())
            # A long text may take the detectors a while; everybody else must not wait for that.
            is_long = len(facts.text) > _LONG_TEXT and rule.needs_text
            if not (await asyncio.to_thread(rule.matches, facts) if is_long else rule.matches(facts)):
                continue
            if rule.then.preprocess:
                preparing.append(rule)
            if rule.then.decides:
                decider = rule
        return decider, preparing

    def _situation(self, route: Route, target: Target, assessment: Assessment | None, pressure: float) -> Situation:
        asked = target.threshold
        named = self._thresholds.get(asked if isinstance(asked, str) else "balanced", 0.5)
        return Situation(
            small=route.small,
            large=route.large,
            threshold=asked if isinstance(asked, float) else named,
            assessment=assessment,
            forced=asked is not None,
            pressure=pressure,
        )


async def _prepared(request: Request, rules: Sequence[Rule]) -> tuple[Prepared | None, Doubt | None]:
    """What a remote upstream is sent, or why it must not be sent anything. Raises Denied where a rule says so."""
    steps = {step for rule in rules for step in rule.then.preprocess}
    try:
        if request.text_length > _LONG_TEXT:
            return await asyncio.to_thread(prepared, steps, request.body, request.dialect), None
        return prepared(steps, request.body, request.dialect), None
    except Doubt as doubt:
        if any(rule.then.on_doubt == "refuse" for rule in rules):
            message = f"The request must not leave without {' and '.join(sorted(steps))}, and {doubt}."
            raise Denied(message, code="preprocess_doubt") from None
        return None, doubt


class _Asked:
    """What a request asks, and the classifier's word on it: each worked out once, when first wanted."""

    def __init__(self, request: Request, assess: Assess | None) -> None:
        self._request = request
        self._assess = assess
        self.found: Assessment | None = None

    async def assessment(self) -> Assessment | None:
        if self._assess:
            self.found = await self._assess(self._request.ask)
            self._assess = None
        return self.found


def _facts(request: Request, text: str) -> Facts:
    fields = request.body.fields
    return Facts(
        text=text,
        ask=request.ask,
        tokens=request.estimated_input_tokens,
        model=request.model,
        key=request.caller,
        headers=request.headers,
        has_tools=bool(fields.get("tools") or fields.get("functions")),
        has_image=has_image(request.messages),
        has_json_schema=request.dialect.wants_json_schema(fields),
    )


def _without_score(
    route: Route, target: Target, rule: Rule | None, fence: str | None, reach: Mapping[str, Upstream]
) -> Decision | None:
    """The decision where the client, a rule or the fence leaves no choice."""
    if rule and rule.then.upstream in reach:
        others = (name for name in (route.small, route.large) if name in reach and name != rule.then.upstream)
        return Decision(str(rule.then.upstream), tuple(dict.fromkeys(others)), "rule", rule.name)
    if target.pin in reach:
        return Decision(str(target.pin), (), "pinned", f"asked for {target.pin}")
    if fence is None and route.small != route.large:
        return None
    inside = tuple(name for name in dict.fromkeys((route.small, route.large)) if name in reach) or tuple(reach)
    if len(inside) > 1 and not target.pin:
        return None
    # What was asked for lies beyond the fence: what is inside answers.
    return Decision(inside[0], inside[1:], "fence" if fence else "always", rule.name if rule else "no other")


def _serving(
    path: str, route: Route, target: Target, reach: Mapping[str, Upstream], decided: Decision | None
) -> Decision:
    """Where no ask is weighed, whoever serves the path: what was decided first, then the route's own."""
    chain = (decided.upstream, *decided.fallbacks) if decided else (route.large, route.small, *reach)
    serving = [name for name in dict.fromkeys(chain) if name in reach and reach[name].serves(path)]
    if not serving:
        raise NotFound(f"No upstream that this request may reach serves {path}.")
    if decided and serving[0] == decided.upstream:
        return replace(decided, fallbacks=tuple(serving[1:]))
    return Decision(serving[0], (), "always", f"serves {path}")


def explained(plan: Plan, request: Request) -> dict[str, object]:
    """A plan in the words of `POST /v1/route`."""
    decision, assessment = plan.decision, plan.assessment
    upstream = plan.reach[decision.upstream]
    return {
        "route": plan.target.route,
        "upstream": decision.upstream,
        "model": upstream.model,
        "location": upstream.location,
        "score": assessment.score if assessment else None,
        "threshold": decision.threshold,
        "reason": decision.reason,
        "rule": plan.rule,
        "fence": plan.fence,
        "signals": {
            "detail": decision.detail,
            "fallbacks": list(decision.fallbacks),
            "accept": decision.verify.accept if decision.verify else None,
            "task": assessment.task if assessment else None,
            "task_probability": assessment.task_probability if assessment else None,
            "preprocess": dict(plan.prepared.counts) if plan.prepared else None,
            "steps": plan.steps,
            "scored_characters": len(request.ask),
            "estimated_tokens": request.estimated_input_tokens,
        },
    }


def _targets(config: Config) -> dict[str, Target]:
    """Every name that stands for something. Routes come first: where a model's name repeats, the first one has it."""
    targets: dict[str, Target] = {}
    for name, route in config.routes.items():
        targets[name] = Target(name)
        targets |= {f"{name}:{point}": Target(name, threshold=point) for point in _POINTS}
        for location in ("local", "remote"):
            pair = (route.small, route.large) if location == "local" else (route.large, route.small)
            pin = next((u for u in pair if config.upstreams[u].location == location), None)
            if pin:
                targets[f"{name}:{location}"] = Target(name, pin=pin, is_local_only=location == "local")
    for name, upstream in config.upstreams.items():
        target = Target(_route_of(name, config.routes), pin=name)
        targets.setdefault(name.lower(), target)
        targets.setdefault(upstream.model.lower(), target)
    return targets


def _route_of(upstream: str, routes: Mapping[str, Route]) -> str:
    """The route whose baseline a request that names this upstream is measured against."""
    return next((n for n, r in routes.items() if upstream in {*r.smalls, r.large}), next(iter(routes)))


def _fitting(decision: Decision, reach: Mapping[str, Upstream], request: Request) -> Decision:
    """Leave out the upstreams whose context window the request would overflow: they would clip it silently."""
    chain = (decision.upstream, *decision.fallbacks)
    fits = [name for name in chain if fits_into(reach[name], request)]
    if len(fits) == len(chain):
        return decision
    if fits and fits[0] == chain[0]:
        return replace(decision, fallbacks=tuple(fits[1:]))
    if fits:
        detail = f"too long for the window of {chain[0]}"
        return Decision(fits[0], tuple(fits[1:]), "context_window", detail, decision.threshold)
    raise Refused(
        f"The request, of {request.text_length:,} characters, is too long for every upstream that it may reach.",
        status=400,
        type="invalid_request_error",
        param="messages",
        code="context_length_exceeded",
    )


def fits_into(upstream: Upstream, request: Request) -> bool:
    """Whether the context of an upstream holds a request and what it may generate, as far as is known."""
    window = upstream.window
    if window is None:
        return True
    left = window - request.asked_output_tokens
    if upstream.location == "remote":
        return request.text_length // 4 <= left  # it says itself when it is too much
    # Many local servers clip in silence, so there we err on the safe side. No tokenizer makes more tokens than bytes.
    return request.text_length * 4 <= left or most_tokens(text_of(request.body)) <= left


def has_image(messages: Sequence[Mapping[str, object]]) -> bool:
    """Whether there is a picture among what the messages hold."""
    parts = (part for m in messages if isinstance(m.get("content"), list) for part in m["content"])  # type: ignore[attr-defined]
    return any(part.get("type") in {"image_url", "input_image", "image"} for part in parts)
