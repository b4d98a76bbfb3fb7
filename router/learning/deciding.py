"""Where a request of the past would go under another config, as far as the ledger's columns tell. Calls nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from weighbridge.classifiers.base import Assessment
from weighbridge.config import Config
from weighbridge.learning.rule_evidence import NotKept, Rules
from weighbridge.ledger.base import Entry
from weighbridge.policies.base import Situation, Verification
from weighbridge.tables import Route

Asked = Callable[[str], float | str | None]  # the operating point that a model name stands for

# What decided these is not in the config, so another config decides them no other way.
_STAYS = frozenset({"pinned", "session", "fallback", "budget", "context_window"})
_JUDGED = frozenset({"cascade_accepted", "cascade_escalated"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """upstream: where it would go; None is nowhere, as a rule denies it. missing: why that cannot be told.

    is_by_threshold: a score against the config's own threshold decides, so that another threshold may move it.
    shortfall: 0..1, the chance that the small model's answer falls short; None where nothing tells: of a draft that was
        judged the ledger keeps the verdict, not how good it was.
    is_at_once: the draft that was made would not be.
    """

    upstream: str | None
    missing: str | None = None
    is_by_threshold: bool = False
    shortfall: float | None = None
    is_at_once: bool = False


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
        self._before = before
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
        shortfall = usable.score if usable and entry.reason not in _JUDGED else None
        try:
            upstream, is_by_threshold, is_drafted = self._upstream(entry, found)
        except NotKept as error:
            return Verdict(None, missing=f"not kept: {error}", shortfall=shortfall)
        is_at_once = entry.reason in _JUDGED and not is_drafted
        return Verdict(upstream, None, is_by_threshold and usable is not None, shortfall, is_at_once)

    def _upstream(self, entry: Entry, found: Assessment | None) -> tuple[str | None, bool, bool]:
        """Its name, whether the config's threshold chose it, and whether a draft is judged. Raises NotKept."""
        route = self._after.routes.get(entry.route or "")
        if route is None:
            raise NotKept(f"the route {entry.route}, in the config that is tried")
        if entry.reason == "session":
            return entry.upstream, False, False
        score, task = (found.score, found.task) if found and not found.abstained else (None, entry.task)
        rule = self._rules.decider(entry, score, task)
        if rule and rule.then.deny is not None:
            return None, False, False
        if rule and rule.then.upstream is not None:
            return self._sent(entry, rule.then.upstream), False, False
        is_fenced = bool(rule and rule.then.fence) or self._fenced_itself(entry)
        if is_fenced and (only := self._inside(route, entry)):
            return route.small_for(task) if only == route.small else only, False, False
        if entry.reason in _STAYS:
            return entry.upstream, False, False
        return self._by_policy(route, entry, found)

    def _by_policy(self, route: Route, entry: Entry, found: Assessment | None) -> tuple[str | None, bool, bool]:
        if entry.reason == "always" and self._had_choice.get(entry.route or ""):
            return entry.upstream, False, False  # nobody else serves it
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
        if decision.verify is not None:
            return self._sent(entry, self._judged(entry, route, name, task, decision.verify)), False, True
        return self._sent(entry, name), asked is None and decision.threshold is not None, False

    def _judged(self, entry: Entry, route: Route, small: str, task: str | None, verify: Verification) -> str:
        """Where a draft leads: as its verdict was, where that holds for the one that is tried too. Raises NotKept."""
        before = self._before.routes.get(entry.route or "")
        # Whatever the score was: how it would have verified a draft.
        was = before.policy.decide(Situation(before.small, before.large, 0.5)).verify if before else None
        if entry.reason not in _JUDGED:
            if was == verify and entry.upstream == small:
                return small  # it could not be verified, and could not be now
            raise NotKept("a verdict on a draft")
        is_accepted = entry.reason == "cascade_accepted"
        drafted_by = entry.upstream if is_accepted or before is None else before.small_for(task)
        if was is None or drafted_by != small or replace(was, accept=verify.accept) != verify:
            raise NotKept("a verdict on such a draft")
        if verify.accept > was.accept if is_accepted else verify.accept < was.accept:
            raise NotKept("how good the draft was, for another `accept`")
        return small if is_accepted else route.large

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
