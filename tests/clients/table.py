"""The table of a run: what each client gets through the gateway, or why not."""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from stage import Scene

_HEAD = """\
# Compatibility

Real clients, changed in nothing but their base URL, through a gateway to two scripted servers that keep every byte
which arrives. Written by `just clients`; last run on {date}, Python {python}, Node {node}.

{summary}

In the tables: **✓** it works. **·** the client does not offer it, or has another way of its own. **A number** is a
remark below the table. **✗** it does not work. The last column names public bugs of other gateways, servers and clients
that the row would have caught.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one scene with one client. own: the client itself does otherwise, whoever it talks to."""

    kind: Literal["passed", "absent", "other", "own", "failed"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """All scenes of one client. trouble: why there are none."""

    client: str
    version: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    trouble: str = ""

    @property
    def has_failed(self) -> bool:
        return any(outcome.kind == "failed" for outcome in self.outcomes.values())

    @property
    def label(self) -> str:
        return f"{self.client} {self.version}"

    @property
    def summary(self) -> str:
        kinds = Counter(outcome.kind for outcome in self.outcomes.values())
        words = f"{kinds['passed']} passed, {kinds['failed']} failed, {kinds['own']} done in a way of its own"
        return f"{self.label}: {self.trouble or words}"


def document(runs: Sequence[Run], scenes: Sequence[Scene], node: str) -> str:
    """The whole file."""
    passed = sum(outcome.kind == "passed" for run in runs for outcome in run.outcomes.values())
    failed = sum(outcome.kind == "failed" for run in runs for outcome in run.outcomes.values())
    tried = sum(not run.trouble for run in runs)
    summary = f"{tried} clients, {len(scenes)} features: {passed} cells pass, {failed} fail."
    absent = [f"- {run.client}: {run.trouble}" for run in runs if run.trouble]
    head = _HEAD.format(date=datetime.now(UTC).date(), python=platform.python_version(), node=node, summary=summary)
    groups = dict.fromkeys(scene.group for scene in scenes)
    parts = [_group(group, [s for s in scenes if s.group == group], runs) for group in groups]
    return "\n".join([head, *(["Not tried this time:", "", *absent, ""] if absent else []), *parts])


def _group(group: str, scenes: Sequence[Scene], runs: Sequence[Run]) -> str:
    """One table, with the clients that have anything in it."""
    shown = [r for r in runs if any(_is_shown(r.outcomes.get(s.name)) for s in scenes)]
    remarks: list[str] = []
    rows = []
    for scene in scenes:
        cells = [_cell(run, scene, remarks) for run in shown]
        rows.append(f"| {scene.title} | {' | '.join(cells)} | {scene.guards} |")
    columns = " | ".join(run.label.replace(" ", "<br>") for run in shown)
    lines = [
        f"## {group}",
        "",
        f"| | {columns} | guards against |",
        "| --- |" + " :-: |" * len(shown) + " --- |",
        *rows,
    ]
    lines += ["", *(f"{number}. {remark}" for number, remark in enumerate(remarks, 1)), ""] if remarks else [""]
    return "\n".join(lines)


def _is_shown(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.kind in {"passed", "failed", "own"}


def _cell(run: Run, scene: Scene, remarks: list[str]) -> str:
    outcome = run.outcomes[scene.name]
    if outcome.kind == "passed":
        return "✓"
    if not outcome.why:
        return "·"
    remark = f"{run.client}: {outcome.why}" if outcome.kind == "own" else f"{run.label}, {scene.title}: {outcome.why}"
    remark = " ".join(remark.split())
    if remark not in remarks:
        remarks.append(remark)
    number = remarks.index(remark) + 1
    return f"{number}" if outcome.kind == "own" else f"✗ {number}"
