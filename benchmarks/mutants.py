"""How many small changes of the code that counts money and keeps secrets a test notices.

    just mutants [--only PART ...] [--matching REGEX] [--width 2] [--json]

The changed copies ("mutants") are mutmut's. mutmut itself would collect the tests anew for each of them; here a session
of pytest collects them once, sees which functions each test calls, and tries each mutant in a fork of that session, on
the tests that call its function, the quickest first, until one fails. A mutant that takes longer than the limit counts
as noticed; one that no test calls does not. Tests that want PostgreSQL or hundreds of drawn texts are left out.

Ends with 1 when fewer than 85 % of some part's mutants are noticed, or where a test fails without any change.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.85
LIMIT_S = 20.0  # for one mutant; all tests of a part take a few seconds
LEFT_OUT = "not postgres and not comes_back_equal"

# By part: the modules that are changed, and the tests that are to notice.
PARTS: dict[str, tuple[str, str]] = {
    "policies": (
        "policies/always policies/cascade policies/rules policies/threshold policies/when",
        "tests/policies/test_always.py tests/policies/test_cascade.py tests/policies/test_rules.py"
        " tests/policies/test_threshold.py tests/policies/test_when.py",
    ),
    "budgets": (
        "budgets breaker discretion",
        "tests/router/test_budgets.py tests/router/test_breaker.py tests/router/test_discretion.py",
    ),
    "ledger": (
        "ledger/base ledger/chain ledger/_sql ledger/sqlite ledger/_record ledger/_sqlite_chain ledger/_sqlite_writer",
        "tests/router/ledger/test_base.py tests/router/ledger/test_chain.py tests/router/ledger/test_record.py"
        " tests/router/ledger/test_sqlite_chain.py tests/router/ledger/test_sqlite_reading.py"
        " tests/router/ledger/test_sqlite_writer.py tests/contracts/test_ledgers.py"
        " tests/router/ledger/test_sqlite.py::test_a_sent_mark_arrives_without_anything_else_to_write",
    ),
    "redaction": (
        "preprocess/redact preprocess/placeholders preprocess/restore",
        "tests/router/preprocess/test_redact.py tests/router/preprocess/test_placeholders.py"
        " tests/router/preprocess/test_restore.py",
    ),
}
NOTICED, LATE, SURVIVED, UNTRIED = "noticed", "took too long", "survived", "no test"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--matching", default="", metavar="REGEX", help="only mutants whose name has this in it")
    parser.add_argument("--width", type=int, default=2, help="how many at once (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", metavar="PART", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("mutmut") is None:
        parser.error("mutmut is not on the path; `just mutants` installs it into build/mutmut and puts it there")
    if given.inside:
        return tried_inside(given.inside, given.matching, given.width)
    began = time.monotonic()
    found = {part: tried(part, given.matching, given.width) for part in given.only}
    missed = [part for part, fates in found.items() if fates and share(fates) < GOAL]
    if given.json:
        print(json.dumps({"fates": found, "missed": missed}, indent=1))
    else:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"{now}  {time.monotonic() - began:.0f} s\n\n{as_markdown(found)}\n")
        print("\n".join(f"{name}: {fate}" for fates in found.values() for name, fate in fates.items() if lives(fate)))
        print("goal missed: " + ", ".join(missed) if missed else "goal met")
    return bool(missed)


def tried(part: str, matching: str, width: int) -> dict[str, str]:
    """The fate of each mutant of a part, tried in a copy of the package and its tests."""
    with TemporaryDirectory() as folder:
        for source, name in (("router", "weighbridge"), ("policies", "weighbridge/policies"), ("tests", "tests")):
            shutil.copytree(ROOT / source, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "classifiers", Path(folder) / "weighbridge/classifiers")
        shutil.copy(ROOT / "pyproject.toml", folder)
        (Path(folder) / "setup.cfg").write_text("[mutmut]\nsource_paths=weighbridge\n", encoding="utf-8")
        command = [sys.executable, __file__, "--inside", part, "--matching", matching, "--width", str(width)]
        path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=False)
        if done.returncode:
            sys.exit(f"{part}: was not tried to its end; what pytest says above has to be mended first")
        fates: dict[str, str] = json.loads((Path(folder) / "fates.json").read_text(encoding="utf-8"))
        return fates


def tried_inside(part: str, matching: str, width: int) -> int:
    modules, tests = PARTS[part]
    names = [name for module in modules.split() for name in mutated(module) if re.search(matching, name)]
    trying = Trying(names, width)
    options = ["-q", "-p", "no:cacheprovider", "--timeout=0", "-k", LEFT_OUT]
    ended = pytest.main([*options, *tests.split()], plugins=[trying])
    if len(trying.fates) < len(names):
        return int(ended) or 1
    Path("fates.json").write_text(json.dumps(trying.fates), encoding="utf-8")
    return 0


def mutated(module: str) -> Iterator[str]:
    """The names of the mutants of a module, which from now on holds them all."""
    from mutmut.mutation.file_mutation import mutate_file_contents  # noqa: PLC0415  # installed for this alone

    path = Path("weighbridge") / f"{module}.py"
    found = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    path.write_text(found.code, encoding="utf-8")
    return (f"weighbridge.{module.replace('/', '.')}.{name}" for name in found.mutant_names)


class Trying:
    """A plugin of pytest that runs each mutant instead of each test."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        self.names, self.width = names, width
        self.fates: dict[str, str] = {}
        self.running: dict[int, tuple[str, float]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        callers = called(session.items)
        for name in self.names:
            tests = callers.get(name.rpartition("__mutmut_")[0], [])
            if not tests:
                self.fates[name] = UNTRIED
                continue
            while len(self.running) >= self.width:
                self.reap()
            if not (child := os.fork()):
                os._exit(is_noticed(name, tests))
            self.running[child] = name, time.monotonic()
        while self.running:
            self.reap()
        return True

    def reap(self) -> None:
        """Write down one that has ended; end those that take too long."""
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in self.running:
            name, _ = self.running.pop(child)
            self.fates[name] = {0: SURVIVED, 1: NOTICED}.get(os.waitstatus_to_exitcode(status), LATE)
            return
        for late in [pid for pid, (_, began) in self.running.items() if time.monotonic() - began > LIMIT_S]:
            os.kill(late, 9)
        time.sleep(0.01)


def called(tests: Sequence[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """By function, the tests that call it, the quickest first. Each runs once, unchanged, and must pass."""
    from mutmut.mutation import trampoline  # noqa: PLC0415  # as above

    hits: set[str] = set()
    trampoline.record_trampoline_hit = lambda name, **_: hits.add(name)
    os.environ["MUTANT_UNDER_TEST"] = "stats"
    callers, took_s = defaultdict[str, list[pytest.Item]](list), dict[pytest.Item, float]()
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        hits.clear()
        began = time.monotonic()
        reports = runtestprotocol(test, log=False, nextitem=following)
        if failed := [report for report in reports if report.failed]:
            pytest.exit(f"{test.nodeid} fails without a change\n{failed[0].longreprtext}", returncode=1)
        took_s[test] = time.monotonic() - began
        for name in hits:
            callers[name].append(test)
    return {name: sorted(found, key=took_s.__getitem__) for name, found in callers.items()}


def is_noticed(name: str, tests: Sequence[pytest.Item]) -> int:
    """In the fork: 1 when a test fails."""
    from mutmut.mutation.trampoline import set_mutant_under_test  # noqa: PLC0415  # as above

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT_S), int(LIMIT_S) + 1))
    set_mutant_under_test(name)
    try:
        for test in tests:
            fresh(test)
            if any(report.failed for report in runtestprotocol(test, log=False, nextitem=None)):
                return 1
    except BaseException:  # whatever a mutant raises
        return 1
    return 0


def fresh(test: Any) -> None:
    """A test that has run once is made ready to run again."""
    if hasattr(test, "_initrequest"):
        test._initrequest()


def lives(fate: str) -> bool:
    return fate in {SURVIVED, UNTRIED}


def share(fates: dict[str, str]) -> float:
    return sum(not lives(fate) for fate in fates.values()) / len(fates)


def as_markdown(found: dict[str, dict[str, str]]) -> str:
    from rig.routing import table  # noqa: PLC0415  # it imports what --inside is yet to change

    lines = [("module", "mutants", "noticed", "by the limit", "survived", "no test", "share")]
    for part, fates in found.items():
        by_module = defaultdict[str, dict[str, str]](dict)
        for name, fate in fates.items():
            by_module[name.rpartition(".")[0].removeprefix("weighbridge.")][name] = fate
        for module, theirs in [*by_module.items(), *([(f"**{part}**", fates)] if fates else [])]:
            n = Counter(theirs.values())
            counts = (str(n[fate]) for fate in (NOTICED, LATE, SURVIVED, UNTRIED))
            lines.append((module, str(len(theirs)), *counts, f"{share(theirs):.0%}"))
    return table(lines)


if __name__ == "__main__":
    sys.exit(main())
