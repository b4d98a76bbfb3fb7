"""`weighbridge validate`: is the config right? Builds everything that it names, and calls nothing."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.config import Config, ConfigError, load
from weighbridge.policies.base import Situation
from weighbridge.policies.rules import Rule
from weighbridge.resident import resident_bytes


def run(path: Path, *, as_json: bool) -> bool:
    """Print what was found. False when the file cannot be used."""
    try:
        config = load(path, os.environ)
        facts = list(_facts(config))
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "path": str(path), "problems": error.problems, "warnings": [], "facts": []})
        return False
    warned = list(warnings(config, os.environ))
    if as_json:
        print_json({"ok": True, "path": str(path), "problems": [], "warnings": warned, "facts": facts})
        return True
    out = console()
    for fact in facts:
        print_finding(out, "ok", "", fact)
    for warning in warned:
        print_finding(out, "warn", "", warning)
    out.print(f"{path} is valid" + (f", with {len(warned)} to look at." if warned else "."))
    return True


def _facts(config: Config) -> Iterator[str]:
    """What is right, in words. Raises ConfigError when something cannot be built."""
    for location in ("local", "remote"):
        found = [f"{name} ({u.model})" for name, u in config.upstreams.items() if u.location == location]
        yield f"{location} upstreams: {', '.join(found) or 'none'}"
    classifier = config.make_classifier() if config.needs_classifier else None
    yield _of_classifier(config, classifier)
    for name, route in config.routes.items():
        low, high = (_decided(config, name, classifier, score) for score in (0.0, 1.0))
        yield f"route {name}: an easy request goes to {low}, a hard one to {high}; baseline {route.baseline}"
        if route.small_by_task:
            tasks = ", ".join(f"{task} to {upstream}" for task, upstream in route.small_by_task.items())
            yield f"route {name}: of what goes to the small side, {tasks}"
    names = ", ".join(f'"{rule.name}"' for rule in config.rules)
    yield f"rules, in this order: {names}" if names else "no rules"
    yield f"ledger: {getattr(config.ledger, 'path', type(config.ledger).__name__.lower())}"


def _of_classifier(config: Config, classifier: Classifier | None) -> str:
    if classifier is None:
        return "the classifier is not loaded: nothing asks for a score"
    points = ", ".join(f"{name} {threshold:.2f}" for name, threshold in classifier.thresholds.items())
    return f"classifier {config.classifier.use} ({classifier.version}) loads; its thresholds: {points}"


def _decided(config: Config, name: str, classifier: Classifier | None, score: float) -> str:
    """Where a route's policy sends a request of that score."""
    route = config.routes[name]
    threshold = classifier.thresholds.get("balanced", 0.5) if classifier else 0.5
    return route.policy.decide(Situation(route.small, route.large, threshold, Assessment(score))).upstream


def warnings(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """What is allowed, and perhaps not meant."""
    for key, variable in config.variables():
        if not environ.get(variable):
            yield f"{key}: the environment variable {variable} is not set here"
    if config.server.max_memory_mb and resident_bytes() is None:
        yield "server.max_memory_mb has no effect: this system does not tell how much memory a process has in use"
    for name, route in config.routes.items():
        if route.small == route.large:
            yield f"route {name}: small and large are the same upstream, so there is nothing to choose"
    fences = [(i, rule) for i, rule in enumerate(config.rules) if rule.then.fence]
    if fences and not any(u.location == "local" for u in config.upstreams.values()):
        yield f'rule "{fences[0][1].name}" fences, but no upstream is local: its requests will be refused'
    for i, fence in fences:
        for earlier in config.rules[:i]:
            if _leaves(config, earlier):
                yield (
                    f'rule "{fence.name}" fences, but stands after "{earlier.name}", which sends what it matches to '
                    f"{earlier.then.upstream}: move the fence before it"
                )


def _leaves(config: Config, rule: Rule) -> bool:
    """It could take a request to a remote upstream."""
    return rule.then.upstream is not None and config.upstreams[rule.then.upstream].location == "remote"
