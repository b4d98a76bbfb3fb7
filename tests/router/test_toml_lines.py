"""Lines: every key of a TOML text is found where it stands."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.toml_lines import Key, line_of, value_of

TEXT = '''\
# a comment = with an equals sign
version = 1

[server]                # a [comment]
host = "[not] a = header"
"quoted key" = 2

[upstreams.local]
text = """
model = "not a key"
"""
limits = { connect_s = 5, idle_s = 6 }
[upstreams."with.dot"]
a.b.c = 3

[[rules]]
name = 'first'
when = { any = [
    { pii = ["email", # why
             "phone"] },
    { header = { "x-data-class" = "private" } },
] }
[rules.then]
fence = "local"

[[rules]]
name = "second"
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("version",), 2),
        (("server",), 4),
        (("server", "host"), 5),
        (("server", "quoted key"), 6),
        (("upstreams",), 8),
        (("upstreams", "local", "limits"), 12),
        (("upstreams", "local", "limits", "idle_s"), 12),
        (("upstreams", "with.dot", "a", "b", "c"), 14),
        (("rules", 0), 16),
        (("rules", 0, "when", "any", 0, "pii"), 19),
        (("rules", 0, "when", "any", 0, "pii", 1), 20),
        (("rules", 0, "when", "any", 1, "header", "x-data-class"), 21),
        (("rules", 0, "then", "fence"), 24),
        (("rules", 1), 26),
        (("rules", 1, "name"), 27),
    ],
)
def test_a_key_is_found_on_its_line(key: Key, line: int) -> None:
    assert line_of(TEXT, key) == line


def test_a_missing_key_is_told_by_the_table_around_it() -> None:
    assert line_of(TEXT, ("server", "prot")) == 4
    assert line_of(TEXT, ("rules", 1, "then", "fence")) == 26


def test_a_key_outside_every_table_has_no_line() -> None:
    assert line_of(TEXT, ("ledger", "path")) is None


def test_a_text_that_is_no_toml_ends_the_search() -> None:
    assert line_of("a = 1\n[ b = ]", ("a",)) == 1
    assert line_of("a = [ }", ("a",)) == 1
    assert line_of("[" * 5000, ("a",)) is None


_NAMES = st.text("ab.-\"' ", min_size=1, max_size=3)
_VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("a]}[{=#,'\\\" \n", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[ # [\n{', '.join(map(_written, value))}\n]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(k)} = {_written(v)}" for k, v in value.items()) + "}"
    return str(value)


@given(st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_whatever_stands_before_a_key_it_is_found(data: dict[str, Any]) -> None:
    before = "".join(f"{_quoted(name)} = {_written(value)}\n" for name, value in data.items())
    text = f"{before}[last]\nkey = 1\n"
    assert tomllib.loads(text)["last"] == {"key": 1}
    assert line_of(text, ("last", "key")) == text.count("\n")
    for name in data:
        found = line_of(text, (name,))
        assert found is not None
        assert text.splitlines()[found - 1].startswith(_quoted(name))


def test_a_value_is_found_from_its_first_to_its_last_character() -> None:
    def value(*key: str | int) -> str | None:
        span = value_of(TEXT, key)
        return TEXT[slice(*span)] if span else None

    assert value("version") == "1"
    assert value("server", "host") == '"[not] a = header"'
    assert value("upstreams", "local", "limits") == "{ connect_s = 5, idle_s = 6 }"
    assert value("upstreams", "local", "limits", "idle_s") == "6"
    assert value("upstreams", "with.dot", "a", "b", "c") == "3"
    assert value("server") is None
