"""The documents keep up with the code: what can be set, said or counted is written down, and what is written runs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI
from running import RunningGateway
from typer.main import get_command

from weighbridge import plugins
from weighbridge.classifiers.base import Classifier
from weighbridge.cli.commands import app
from weighbridge.config import Config, load
from weighbridge.ledger.base import Ledger
from weighbridge.pages import add_pages
from weighbridge.parts import compose
from weighbridge.policies.base import Policy, Reason
from weighbridge.policies.conditions import CONDITIONS
from weighbridge.policies.detect import KINDS
from weighbridge.state.base import State
from weighbridge.telemetry import Metrics
from weighbridge.upstreams.base import Upstream

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "classifiers/**/*.md")
    for path in ROOT.glob(pattern)
)
SHELVES = {
    "weighbridge.upstreams": Upstream,
    "weighbridge.classifiers": Classifier,
    "weighbridge.policies": Policy,
    "weighbridge.ledger": Ledger,
    "weighbridge.state": State,
}


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def missing(names: object, name: str) -> list[str]:
    """Those that a document does not mention as code."""
    text = document(name)
    assert isinstance(names, set | frozenset | dict | tuple | list)
    return sorted(n for n in names if not re.search(rf"[`\"]{re.escape(n)}\b", text))


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks in these languages, with where they are."""
    fence = re.compile(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for found in fence.finditer(text):
            yield f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


# What is in the code is in the documents.


def test_the_tables_of_keys_are_fresh_and_every_key_has_words() -> None:
    run = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("shelf", SHELVES)
def test_everything_on_a_shelf_has_its_keys_documented(shelf: str) -> None:
    text = document("docs/configuration.md")
    for name in plugins.implementations(shelf, SHELVES[shelf]):
        assert f"<!-- keys: {shelf}.{name}:" in text, name
        assert f'"{name}"' in text, name


def test_every_condition_and_kind_of_personal_data_is_documented() -> None:
    assert not missing(CONDITIONS, "docs/configuration.md")
    assert not missing(KINDS, "docs/configuration.md")


def test_every_reason_is_documented() -> None:
    assert not missing(get_args(Reason), "docs/api.md")


def test_every_error_code_is_documented() -> None:
    assert not missing(error_codes(), "docs/api.md")


def test_every_metric_is_documented() -> None:
    assert not missing({metric.name for metric in Metrics().families()}, "docs/api.md")


def test_every_header_is_documented() -> None:
    source = document("router/api.py")
    assert not missing(set(re.findall(r"x-(?:weighbridge|litellm|request)-[a-z-]+", source)), "docs/api.md")


def test_every_endpoint_is_documented(tmp_path: Path) -> None:
    pages = FastAPI()
    add_pages(pages, compose(simulated(tmp_path), {}))
    served = {route.path for route in pages.routes if getattr(route, "include_in_schema", False)}
    text = document("docs/api.md")
    assert [path for path in (*served, "/v1/chat/completions") if path.partition("{")[0] not in text] == []


def test_every_verb_and_option_is_documented() -> None:
    text = document("docs/commands.md")
    verbs = get_command(app).commands  # type: ignore[attr-defined]  # a group
    for name, verb in verbs.items():
        assert f"## `weighbridge {name}" in text, name
        options = [next(o for o in p.opts if o.startswith("--")) for p in verb.params if p.param_type_name == "option"]
        section = text.partition(f"## `weighbridge {name}")[2].partition("\n## ")[0]
        assert [o for o in options if o != "--help" and f"`{o}" not in section] == [], name


def error_codes() -> set[str]:
    """Every `code = "..."` and `code="..."` in the package."""
    found: set[str] = set()
    for path in (ROOT / "router").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.add(str(node.value.value))
            if isinstance(node, ast.Assign):
                found |= set(_assigned_codes(node))
    return found


def _assigned_codes(node: ast.Assign) -> Iterator[str]:
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = zip(target.elts, node.value.elts, strict=True)
    else:
        pairs = zip([target], [node.value], strict=True)
    for name, value in pairs:
        if isinstance(name, ast.Name) and name.id == "code" and isinstance(value, ast.Constant):
            yield str(value.value)


# What is in the documents holds.


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there), link


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_python_in_the_documents_compiles() -> None:
    for place, code in blocks("python", "py"):
        compile(code, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_toml_and_json_in_the_documents_parse() -> None:
    for place, text in blocks("toml"):
        assert tomllib.loads(text), place
    for place, text in blocks("json"):
        assert json.loads(text), place


def test_shell_in_the_documents_parses() -> None:
    for place, text in blocks("sh", "bash"):
        run = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{place}: {run.stderr}"


def test_whole_configs_in_the_documents_are_valid(tmp_path: Path) -> None:
    for place, text in blocks("toml"):
        if "[upstreams." in text and "[routes." in text:
            file = tmp_path / "config.toml"
            file.write_text(text, encoding="utf-8")
            assert load(file, {}), place


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    measured = document("classifiers/artefact/MODEL_CARD.md") + document("benchmarks/RESULTS.md")
    figures = document("README.md").partition("<!-- figures -->")[2].partition("<!-- end of figures -->")[0]
    rows = [line for line in figures.splitlines() if line.startswith("| ")]
    said = {number for row in rows for number in re.findall(r"\d[\d,]*\.\d+(?: \([\d.]+-[\d.]+\))?", row)}
    assert said
    assert [number for number in said if number not in measured] == []


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme, script = document("README.md").splitlines(), document(".ci/run")
    for ending in ("weighbridge demo", "just test"):
        lines = [line for line in readme if re.fullmatch(rf"python3 -m venv \.venv .*\.venv/bin/{ending}", line)]
        assert len(lines) == 1, ending
        assert f"readme_command '{ending}'" in script


def test_the_verbs_that_documents_and_ci_name_are_in_the_justfile() -> None:
    verbs = set(re.findall(r"^(\w+)(?: \S+)*:", document("justfile"), re.MULTILINE))
    texts = [p.read_text(encoding="utf-8") for p in DOCUMENTS] + [document(".ci/run")]
    texts.append(document(".github/workflows/ci.yml"))
    named = {verb for text in texts for verb in re.findall(r"(?:`|\.venv/bin/)just ([a-z]+)", text)}
    assert named <= verbs


# What is in examples/ runs.


def simulated(folder: Path) -> Config:
    return load(EXAMPLES / "simulated.toml", {"WEIGHBRIDGE_LEDGER__PATH": str(folder / "ledger.db")})


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway with the upstreams of examples/simulated.toml."""
    config = tomllib.loads((EXAMPLES / "simulated.toml").read_text(encoding="utf-8"))
    with RunningGateway(tmp_path, config) as running:
        yield running


def run_example(gateway: RunningGateway, *command: str) -> str:
    environ = {**os.environ, "OPENAI_BASE_URL": gateway.url, "OPENAI_API_KEY": "not-needed"}
    run = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_openai_client_example_runs(gateway: RunningGateway) -> None:
    said = run_example(gateway, sys.executable, "examples/openai_client.py")
    assert said.count("Simulated answer") == 3
    assert "below_threshold" in said
    assert [row["end_reason"] for row in gateway.rows()] == ["ok"] * 3


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_fetch_example_runs(gateway: RunningGateway) -> None:
    assert run_example(gateway, "node", "examples/fetch_client.mjs").count("Simulated answer") == 2


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_the_curl_example_runs(gateway: RunningGateway) -> None:
    said = run_example(gateway, "sh", "examples/curl.sh")
    assert "x-weighbridge-reason" in said
    assert "data: [DONE]" in said
    assert '"signals"' in said


@needs_curl
def test_the_custom_policy_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    config = tomllib.loads((EXAMPLES / "custom_policy.toml").read_text(encoding="utf-8"))
    with RunningGateway(tmp_path, config) as gateway:
        said = run_example(gateway, "sh", "examples/curl.sh")
    assert "score" in said
    assert " for " in said


def test_every_example_is_listed_and_tested() -> None:
    listed = document("examples/README.md") + document("tests/test_docs.py")
    for path in EXAMPLES.iterdir():
        if path.is_file() and path.name != "README.md":
            assert listed.count(path.name) >= 2, path.name
