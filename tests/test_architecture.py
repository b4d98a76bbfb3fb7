"""The walls of the house: what may import what, what each file may weigh, and what loading a part brings along."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"router": "weighbridge", "policies": "weighbridge.policies", "classifiers": "weighbridge.classifiers"}

# From the top floor down; who is not named lives on the ground. Imports stay on their floor or go down.
FLOORS = (
    {"__main__", "cli", "demo", "app", "snapshot", "parts", "pages", "health", "forwarding"},
    {"api", "asgi", "access", "connections", "cors"},
    {
        "gateway",
        "assisting",
        "attempts",
        "declining",
        "drafting",
        "drifting",
        "interpreting",
        "pausing",
        "planning",
        "repeating",
        "reusing",
        "sampling",
        "sessions",
        "shadowing",
        "signals",
        "trip",
        "schemas",
        "telemetry",
        "unserved",
    },
)
# The way of one request.
STORY = (
    "gateway",
    "attempts",
    "drafting",
    "sampling",
    "interpreting",
    "planning",
    "sessions",
    "trip",
    "streaming",
    "schemas",
)
SHELVES = {
    "policies": "tests/policies",
    "classifiers": "tests/classifiers",
    "router/dialects": "tests/router/dialects",
    "router/upstreams": "tests/router/upstreams",
    "router/ledger": "tests/router/ledger",
    "router/state": "tests/router/state",
}

WEB = {"fastapi", "starlette", "uvicorn", "aiohttp", "httptools", "httpx", "requests"}
STORES = {"sqlite3", "redis", "asyncpg", "psycopg"}
LEARNING = {"torch", "sklearn", "scipy", "sentence_transformers", "transformers", "onnx", "pandas", "pyarrow"}

# Where a rule does not hold, and why. These lists are meant to shrink.
KNOWN_IMPORTS: dict[tuple[str, str], str] = {}
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
BROAD_EXCEPTS = {
    "weighbridge.app": "the last handler: whatever it was, the connection lives on",
    "weighbridge.plugins": "somebody's own file can raise anything while it is imported",
    "weighbridge.ledger._sqlite_writer": "the thread must live on, and whoever waits must be told",
    "weighbridge.ledger._postgres_writer": "the task must live on, and whoever waits must be told",
    "weighbridge.upstreams.litellm": "litellm raises whatever its providers' libraries raise",
    "weighbridge.classifiers.batched": "whatever a classifier raises, the request goes on without a score",
    "weighbridge.classifiers.minilm": "onnxruntime and tokenizers have no public base of their exceptions",
}
UNTESTED: dict[str, str] = {"router/state/memory": "tests/contracts/test_states.py tests every state"}


@cache
def sources() -> MappingProxyType[str, Path]:
    """Every module that ships, by its import name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return MappingProxyType(found)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Everything that a module imports, inside functions too, as full names."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            name = str(node.module)
            # `from package import module` means the module.
            found |= {f"{name}.{a.name}" if f"{name}.{a.name}" in sources() else name for a in node.names}
    return frozenset(found)


def ours(module: str) -> set[str]:
    """What it imports of ours, without the package's name."""
    return {n.removeprefix("weighbridge.") for n in imports(module) if n.partition(".")[0] == "weighbridge"}


def foreign(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)} - {"weighbridge"}


def within(package: str) -> list[str]:
    return [module for module in sources() if f"{module}.".startswith(f"{package}.")]


def floor(name: str) -> int:
    room = name.partition(".")[0]
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def functions(module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_imports_only_point_downward() -> None:
    upward = [
        f"{module} imports {name}"
        for module in sources()
        for name in ours(module)
        if floor(name) < floor(module.removeprefix("weighbridge."))
    ]
    assert not upward


def test_imports_form_no_circle() -> None:
    graph = {m: {f"weighbridge.{n}" for n in ours(m)} & sources().keys() for m in sources()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_classifiers_import_nothing_of_ours() -> None:
    for module in within("weighbridge.classifiers"):
        assert {n for n in ours(module) if n.partition(".")[0] != "classifiers"} == set(), module


def test_policies_import_only_what_a_classifier_is() -> None:
    for module in within("weighbridge.policies"):
        assert {n for n in ours(module) if n.partition(".")[0] != "policies"} <= {"classifiers.base"}, module


def test_policies_and_classifiers_know_no_web_and_no_store() -> None:
    for module in (*within("weighbridge.policies"), *within("weighbridge.classifiers")):
        assert foreign(module).isdisjoint(WEB | STORES | {"litellm"}), module


def test_policies_are_pure() -> None:
    effects = {"asyncio", "os", "socket", "subprocess", "threading", "time", "random", "numpy", "onnxruntime"}
    for module in within("weighbridge.policies"):
        assert foreign(module).isdisjoint(effects), module


def test_only_the_learned_classifier_runs_a_model() -> None:
    runners = {m for m in sources() if foreign(m) & {"onnxruntime", "tokenizers"} and ".training" not in m}
    assert runners == {"weighbridge.classifiers.minilm"}


def test_learning_libraries_stay_in_the_training_folder() -> None:
    for module in sources():
        if not module.startswith("weighbridge.classifiers.training"):
            assert foreign(module).isdisjoint(LEARNING), module


def test_only_one_file_imports_litellm() -> None:
    assert [m for m in sources() if "litellm" in foreign(m)] == ["weighbridge.upstreams.litellm"]


def test_the_package_itself_imports_nothing() -> None:
    assert not [n for n in tree("weighbridge").body if isinstance(n, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("name", STORY)
def test_the_story_of_a_request_names_no_provider_no_store_and_no_framework(name: str) -> None:
    module = f"weighbridge.{name}"
    shelves = {n for n in ours(module) if n.partition(".")[0] in {"upstreams", "ledger", "classifiers"}}
    known = {n for m, n in KNOWN_IMPORTS if m == name}
    assert shelves - known <= {"upstreams.base", "ledger.base", "classifiers.base"}
    assert foreign(module).isdisjoint(WEB | STORES | LEARNING | {"litellm", "onnxruntime"})


def test_only_plugins_imports_by_name() -> None:
    by_name = [
        module
        for module in sources()
        if "importlib" in imports(module)
        or any(isinstance(n, ast.Name) and n.id == "__import__" for n in ast.walk(tree(module)))
    ]
    assert by_name == ["weighbridge.plugins"]


def test_nothing_unpickles() -> None:
    for module, path in sources().items():
        assert foreign(module).isdisjoint({"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}), module
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8"), module


def test_only_the_application_speaks_http_errors() -> None:
    for module in sources():
        raised = {ast.unparse(n.exc) for n in ast.walk(tree(module)) if isinstance(n, ast.Raise) and n.exc}
        assert not any(text.startswith("HTTPException") for text in raised), module


def test_broad_excepts_are_few_and_have_a_reason() -> None:
    broad = {
        module
        for module in sources()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    }
    assert broad == BROAD_EXCEPTS.keys()


@pytest.mark.parametrize("shelf", SHELVES)
def test_each_file_on_a_shelf_has_its_test(shelf: str) -> None:
    files = {p.stem for p in (ROOT / shelf).glob("*.py") if not p.stem.startswith("_")} - {"base"}
    tested = {p.stem.removeprefix("test_") for p in (ROOT / SHELVES[shelf]).glob("test_*.py")}
    excused = {Path(name).stem for name in UNTESTED if str(Path(name).parent) == shelf}
    assert files - tested == excused


def test_no_file_is_over_400_lines() -> None:
    long = {
        str(p.relative_to(ROOT)) for p in sources().values() if len(p.read_text(encoding="utf-8").splitlines()) > 400
    }
    assert long == LONG_FILES.keys()


def test_no_function_is_over_60_lines() -> None:
    assert {name for m in sources() for name, lines in functions(m) if lines > 60} == LONG_FUNCTIONS.keys()


def test_each_module_begins_with_a_sentence() -> None:
    for module in sources():
        opening = ast.get_docstring(tree(module))
        if tree(module).body:
            assert opening, module
            assert opening.splitlines()[0][-1] in ".:", f"{module}: {opening.splitlines()[0]}"


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests")
    return set(run.stdout.split())


HEAVY = LEARNING | {"litellm", "openai", "boto3", "botocore", "joblib", "huggingface_hub"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import weighbridge", WEB | STORES | HEAVY | {"pydantic", "numpy", "onnxruntime", "typer", "rich"}),
        ("import weighbridge.policies.threshold", WEB | STORES | HEAVY | {"numpy", "onnxruntime", "orjson"}),
        ("import weighbridge.classifiers.length", WEB | STORES | HEAVY | {"numpy", "onnxruntime", "orjson"}),
        ("import weighbridge.classifiers.minilm", WEB | STORES | HEAVY),
        ("import weighbridge.gateway", HEAVY | {"fastapi", "redis", "onnxruntime", "typer"}),
        ("import weighbridge.app", HEAVY | {"onnxruntime", "redis"}),
        ("import weighbridge.cli", HEAVY | {"onnxruntime", "redis"}),
    ],
)
def test_loading_a_part_brings_no_stranger_along(statement: str, unwanted: set[str]) -> None:
    assert loaded_by(statement) & unwanted == set()
