"""`weighbridge route "text"`: one decision, explained. No upstream is called and no gateway needed."""

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from weighbridge.api import new_request_id
from weighbridge.classifiers.base import Assessment
from weighbridge.cli.console import console, print_json
from weighbridge.config import Config, load
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import Denied, WeighbridgeError
from weighbridge.planning import Plan, Planner, explained
from weighbridge.prices import price_list
from weighbridge.schemas import Request
from weighbridge.units import Usage, as_usd, cost_of
from weighbridge.wire import parse

_BAR = 32


def run(path: Path, text: str, *, model: str | None, as_json: bool) -> bool:
    """Print the decision. False when there is none: the request makes no sense, or nothing may answer it."""
    config = load(path, os.environ)
    try:
        request = _request(text, model or next(iter(config.routes)))
        plan = asyncio.run(_planner(config).plan(request))
    except WeighbridgeError as error:
        if as_json:
            print_json(error.body())
        else:
            typer.echo(f"{'Denied' if isinstance(error, Denied) else 'No decision'}: {error.message}", err=True)
        return False
    costs = _costs(config, plan, request)
    if as_json:
        print_json({**explained(plan, request), "cost_at_most_usd": costs})
    else:
        _show(config, plan, request, costs)
    return True


def _request(text: str, model: str) -> Request:
    body = parse(json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode())
    CHAT.check(body.fields)
    return Request(new_request_id(), CHAT, body, "anyone", {}, time.monotonic(), datetime.now(UTC))


def _planner(config: Config) -> Planner:
    """The gateway's planner, without the time limit: a person waits, and nobody else does."""
    classifier = config.make_classifier() if config.needs_classifier else None

    async def assess(text: str) -> Assessment | None:
        return classifier.assess([text])[0] if classifier else None

    return Planner(config, classifier, assess)


def _costs(config: Config, plan: Plan, request: Request) -> dict[str, str | None]:
    """What an answer costs at most, by upstream: of the route, and the chosen one. None is unknown."""
    route = config.routes[plan.target.route]
    prices = price_list(config.upstreams)
    worst = Usage(request.estimated_input_tokens, request.most_output_tokens, source="estimated")
    costs: dict[str, str | None] = {}
    for name in dict.fromkeys((route.small, route.large, plan.decision.upstream)):
        nano = cost_of(worst, prices[name], config.upstreams[name].limits.total_s)
        costs[name] = None if nano is None else as_usd(nano)
    return costs


def _show(config: Config, plan: Plan, request: Request, costs: dict[str, str | None]) -> None:
    decision, assessment = plan.decision, plan.assessment
    chosen = plan.reach[decision.upstream]
    table = Table.grid(padding=(0, 2))
    table.add_row("goes to", Text(f"{decision.upstream} ({chosen.model}, {chosen.location})", style="bold"))
    table.add_row("because", Text(f"{decision.reason} {decision.detail}".rstrip()))
    if assessment:
        table.add_row("score", _bar(assessment.score, decision.threshold))
        task = f"{assessment.task} (probability {assessment.task_probability:.2f})" if assessment.task else "not clear"
        table.add_row("task", task)
    else:
        table.add_row("score", "not asked for")
    table.add_row("rule", Text(plan.rule or "none matches"))
    table.add_row("fence", f"{plan.fence} upstreams only" if plan.fence else "none")
    if plan.steps:
        table.add_row("before a remote", _steps(plan))
    table.add_row("if it fails", ", then ".join(decision.fallbacks) or "no other upstream is tried")
    most = f"{request.estimated_input_tokens:,} tokens in, up to {request.most_output_tokens:,} out"
    for i, (name, cost) in enumerate(costs.items()):
        beside = f" ({most})" if i == 0 else ""
        table.add_row("costs at most" if i == 0 else "", f"{name}: {f'${cost}' if cost else 'price unknown'}{beside}")
    console().print(table)


def _steps(plan: Plan) -> str:
    """What is planned, with how much would be replaced."""
    counts = ", ".join(f"{many} {kind}" for kind, many in plan.prepared.counts.items()) if plan.prepared else ""
    return ", then ".join(f"{step} ({counts or 'nothing'})" if step == "redact" else step for step in plan.steps)


def _bar(score: float, threshold: float | None) -> Text:
    """The score as a bar, with a mark where the threshold is."""
    filled = round(score * _BAR)
    cells = ["█"] * filled + ["░"] * (_BAR - filled)
    words = f" {score:.2f}"
    if threshold is not None:
        cells[min(_BAR - 1, round(threshold * _BAR))] = "┃"
        words += f" {'>=' if score >= threshold else '<'} {threshold:.2f} (┃ threshold)"
    is_hard = threshold is not None and score >= threshold
    return Text.assemble(("".join(cells), "yellow" if is_hard else "green"), words)
