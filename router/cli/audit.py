"""`weighbridge audit`: proves from the ledger that nothing in it was changed, and that no fenced request left."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.config import load
from weighbridge.ledger.chain import SHOWN, Audit, audit

_DIGEST = re.compile("[0-9a-f]{64}")


def run(path: Path, *, anchor: str | None, as_json: bool) -> bool:
    """Walk the ledger's chain and print what was found. False when something is wrong. Raises CannotOpen."""
    noted = None if anchor is None else anchor.strip().lower()
    if noted is not None and not _DIGEST.fullmatch(noted):
        raise typer.BadParameter(
            "is not a digest: 64 hexadecimal digits, as an audit prints them", param_hint="--anchor"
        )
    found = audit(load(path, os.environ).ledger.links(), bytes.fromhex(noted) if noted else None)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    return found.is_fine


def _as_json(found: Audit) -> dict[str, object]:
    return {
        "ok": found.is_fine,
        "requests": found.requests,
        "open": found.open,
        "attempts": found.attempts,
        "fenced": {"requests": found.fenced, "remote_attempts": found.fenced_remote},
        "chain": {"length": found.no, "head": found.head.hex(), "anchored": found.anchored},
        "findings": found.count,
        "first": [finding._asdict() for finding in found.findings],
    }


def _print(found: Audit) -> None:
    out = console()
    for finding in found.findings:
        print_finding(out, "fail", f"request {finding.request_id}", finding.what)
    if found.count > len(found.findings):
        out.print(f"... and {found.count - SHOWN:,} more.")
    if found.anchored is False:
        what = "it is not in the chain, so the chain was cut before it or made anew"
        print_finding(out, "fail", "anchor", what)
    if found.is_fine:
        for fact in _facts(found):
            print_finding(out, "ok", "", fact)
    out.print(f"head of the chain: {found.head.hex()} (request {found.no:,})")


def _facts(found: Audit) -> Iterator[str]:
    still_open = f", and {found.open:,} still open" if found.open else ""
    yield f"{found.no:,} closed requests with their attempts are as they were closed{still_open}"
    yield f"{found.fenced:,} fenced requests, none of which went to a remote upstream"
    yield f"the {found.attempts:,} attempts add up to their requests"
    if found.anchored:
        yield "the digest that was noted is in the chain: up to there nothing was cut off or made anew"
