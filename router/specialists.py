"""Which of several small upstreams takes what goes to the small side: the one for the task, where that is clear."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.base import Decision
from weighbridge.problems import nearest
from weighbridge.tables import Route
from weighbridge.upstreams.base import Upstream


def is_open(decision: Decision, route: Route) -> bool:
    """The small upstream was chosen for being the small one, not by a rule's name for it and not to go on there."""
    is_small = decision.upstream == route.small and decision.reason not in {"rule", "session"}
    return bool(route.small_by_task) and is_small


def by_task(decision: Decision, route: Route, found: Assessment | None, reach: Collection[str]) -> Decision:
    """The same decision with the upstream for the task first, and the route's usual small one after it.

    What is too weak a draft goes to the large one at once: there the usual small one is the last.
    Unchanged where no task is named (which takes the classifier's minimum probability), where the classifier abstains,
    and where the task's upstream lies out of reach.
    """
    task = found.task if found and not found.abstained else None
    name = route.small_for(task)
    if found is None or name == route.small or name not in reach:
        return decision
    after = (*decision.fallbacks, route.small) if decision.verify else (route.small, *decision.fallbacks)
    others = tuple(other for other in dict.fromkeys(after) if other != name)
    words = f"{task} ({found.task_probability:.2f}) goes to {name}"
    detail = f"{decision.detail}; {words}" if decision.detail else words
    return replace(decision, upstream=name, fallbacks=others, detail=detail)


def objections(
    by_task: Mapping[str, object], small: object, upstreams: Mapping[str, Upstream], tasks: Sequence[str]
) -> Iterator[tuple[str, object, str]]:
    """What is wrong with a route's `small_by_task`: the task, the value, and a sentence's end."""
    usual = upstreams.get(small) if isinstance(small, str) else None
    for task, name in by_task.items():
        chosen = upstreams.get(name) if isinstance(name, str) else None
        if task not in tasks:
            yield task, name, "is not for a known task" + nearest(task, list(tasks))
        elif chosen and usual and chosen.location != usual.location:
            what = f"is {chosen.location}, and the route's small upstream {small} is {usual.location}: name one that is"
            yield task, name, f"{what} {usual.location} too, for a fence and `auto:local` take the small side as one"
