"""Where a request of the past would go under another config, as far as the ledger's columns tell. Calls nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from weighbridge.classifiers.base import Assessment
from weighbridge.config import Config
from weighbridge.learning.rule_evidence import NotKept, Rules
from weighbridge.ledger.base import Entry
from weighbridge.policies.base import Situation
from weighbridge.tables import Route

Asked = Callable[[str], float | str | None]  # the operating point that a model name stands for

# What decided these is not in the config, so another config decides them no other way.
_STAYS = frozenset(
    {"pinned", "session", "fallback", "budget", "context_window", "cascade_accepted", "cascade_escalated"}
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """upstream: where it would go; None is nowhere, as a rule denies it. missing: why that cannot be told.

    is_by_threshold: a score against the config's own threshold decides, so that another threshold may move it.
    shortfall: 0..1, the chance that the small model's answer falls short; None where nothing tells.
    """

    upstream: str | None
    missing: str | None = None
    is_by_threshold: bool = False
    shortfall: float | None = None


class Decider:
    """Decides again. before: the config that served. after: the one that is tried.

    asked, thresholds: what model names stand for, and the classifier's operating points, under the latter.
    is_scored_anew: the scores in the ledger are another classifier's, and do not count.
    """

    def __init__(
        self,
        before: Config,
        after: Config,
        *,
        asked: Asked,
        thresholds: Mapping[str, float],
        is_scored_anew: bool,
    ) -> None:
        self._after = after
        self._asked = asked
        self._thresholds = thresholds
        self._is_scored_anew = is_scored_anew
        self._rules = Rules(before.rules, after.rules)
        self._preparing = {rule.name for rule in after.rules if not rule.then.decides}
        self._had_choice = {name: route.policy.needs_score for name, route in before.routes.items()}

    def decide(self, entry: Entry, anew: Assessment | None) -> Verdict:
        """anew: what the other classifier says; None where the request was not kept."""
        if entry.upstream is None or not entry.attempts:
            return Verdict(entry.upstream)  # turned away, or answered from the cache
        found = self._assessment(entry, anew)
        usable = found if found and not found.abstained else None
        shortfall = usable.score if usable else None
        try:
            upstream, is_by_threshold = self._upstream(entry, found)
        except NotKept as error:
            return Verdict(None, missing=f"not kept: {error}", shortfall=shortfall)
        return Verdict(upstream, None, is_by_threshold and usable is not None, shortfall)

    def _upstream(self, entry: Entry, found: Assessment | None) -> tuple[str | None, bool]:
        """Its name, and whether the config's threshold chose it. Raises NotKept."""
        route = self._after.routes.get(entry.route or "")
        if route is None:
            raise NotKept(f"the route {entry.route}, in the config that is tried")
        if entry.reason == "session":
            return entry.upstream, False
        score, task = (found.score, found.task) if found and not found.abstained else (None, entry.task)
        rule = self._rules.decider(entry, score, task)
        if rule and rule.then.deny is not None:
            return None, False
        if rule and rule.then.upstream is not None:
            return self._sent(entry, rule.then.upstream), False
        is_fenced = bool(rule and rule.then.fence) or self._fenced_itself(entry)
        if is_fenced and (only := self._inside(route, entry)):
            return route.small_for(task) if only == route.small else only, False
        if entry.reason in _STAYS:
            return entry.upstream, False
        return self._by_policy(route, entry, found)

    def _by_policy(self, route: Route, entry: Entry, found: Assessment | None) -> tuple[str | None, bool]:
        if entry.reason == "always" and self._had_choice.get(entry.route or ""):
            return entry.upstream, False  # nobody else serves it
        if route.policy.needs_score and found is None and entry.reason != "classifier_unavailable":
            raise NotKept("the request, to be scored anew" if self._is_scored_anew else "a score")
        asked = self._asked(entry.model_asked)
        named = self._thresholds.get(asked if isinstance(asked, str) else "balanced", 0.5)
        decision = route.policy.decide(
            Situation(
                small=route.small,
                large=route.large,
                threshold=asked if isinstance(asked, float) else named,
                assessment=found,
                forced=asked is not None,
            )
        )
        task = found.task if found and not found.abstained else None
        name = route.small_for(task) if decision.upstream == route.small else decision.upstream
        return self._sent(entry, name), asked is None and decision.threshold is not None

    def _assessment(self, entry: Entry, anew: Assessment | None) -> Assessment | None:
        if self._is_scored_anew:
            return anew
        if entry.score is None or entry.reason == "classifier_unavailable":
            return None
        return Assessment(entry.score, entry.task, abstained=entry.reason == "abstain")

    def _fenced_itself(self, entry: Entry) -> bool:
        """The client asked to stay here, or a step that still stands could not vouch for the request."""
        return entry.fence is not None and (entry.rule is None or entry.rule in self._preparing)

    def _inside(self, route: Route, entry: Entry) -> str | None:
        """The one upstream within the fence; None where the policy has a choice there. Raises NotKept."""
        local = [name for name, upstream in self._after.upstreams.items() if upstream.location == "local"]
        if entry.upstream in local:
            return entry.upstream
        inside = [name for name in dict.fromkeys((route.small, route.large)) if name in local]
        if not inside:
            raise NotKept("a local upstream of its route, in the config that is tried")
        return inside[0] if len(inside) == 1 else None

    def _sent(self, entry: Entry, name: str) -> str:
        """That upstream, unless the request would overflow its window: then it stays where it was."""
        window = self._after.upstreams[name].context_window
        tokens = (entry.input_tokens or 0) + (entry.output_tokens or 0)
        return name if window is None or tokens <= window or entry.upstream is None else entry.upstream
