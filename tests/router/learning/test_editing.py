"""A key set in config.toml: the value changes, and nothing that a person wrote does."""

import tomllib

import pytest

from weighbridge.learning.editing import CannotEdit, diff, with_value

CONFIG = """\
# Ours.
[classifier]          # what scores
use = "minilm"        # shipped
time_limit_s = 0.5

[routes.auto]
small = "a"
policy = { use = "threshold", threshold = 0.42 }  # by hand

[routes."two words"]
small = "a"
[routes.three.policy]
threshold = 0.1 # low
"""


def test_a_value_is_replaced_where_it_stands() -> None:
    after = with_value(CONFIG, ("routes", "auto", "policy", "threshold"), 0.6)
    assert after == CONFIG.replace("0.42", "0.6")
    assert with_value(CONFIG, ("routes", "three", "policy", "threshold"), 0.25) == CONFIG.replace(
        "0.1 # low", "0.25 # low"
    )


def test_a_key_is_added_to_its_table() -> None:
    after = with_value(CONFIG, ("classifier", "artefact"), "/somewhere/own-1")
    assert after == CONFIG.replace("# what scores\n", '# what scores\nartefact = "/somewhere/own-1"\n')
    quoted = with_value(CONFIG, ("routes", "two words", "policy", "threshold"), 0.5)
    assert tomllib.loads(quoted)["routes"]["two words"]["policy"] == {"threshold": 0.5}
    assert "policy = { threshold = 0.5 }" in quoted


def test_a_table_is_added_where_there_is_none() -> None:
    after = with_value("[server]\nport = 1", ("classifier", "artefact"), "x")
    assert after == '[server]\nport = 1\n\n[classifier]\nartefact = "x"\n'


def test_an_inline_table_grows() -> None:
    assert with_value("policy = { use = 'threshold' } # so\n", ("policy", "threshold"), 0.3) == (
        "policy = { use = 'threshold', threshold = 0.3 } # so\n"
    )
    assert with_value("policy = {}\n", ("policy", "threshold"), 0.3) == "policy = { threshold = 0.3 }\n"


def test_windows_line_ends_and_strings_that_look_like_keys_survive() -> None:
    text = 'note = """\nthreshold = 1\n"""\r\n[policy]\r\nthreshold = 1\r\n'
    after = with_value(text, ("policy", "threshold"), 0.5)
    assert after == 'note = """\nthreshold = 1\n"""\r\n[policy]\r\nthreshold = 0.5\r\n'


def test_the_diff_shows_the_line_alone() -> None:
    after = with_value(CONFIG, ("classifier", "time_limit_s"), 0.7)
    shown = diff(CONFIG, after, "config.toml").splitlines()
    assert [line for line in shown if line[0] in "+-"] == [
        "--- config.toml",
        "+++ config.toml",
        "-time_limit_s = 0.5",
        "+time_limit_s = 0.7",
    ]
    assert diff(CONFIG, CONFIG, "config.toml") == ""


def test_what_cannot_be_edited_is_said() -> None:
    with pytest.raises(CannotEdit):
        with_value('classifier = "minilm"\n', ("classifier", "artefact"), "x")
