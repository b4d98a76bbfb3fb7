"""Names for values: which are given, where they are put, and how they are known again."""

import html
import json

import pytest

from weighbridge.preprocess.placeholders import Placeholders

MAIL, OTHER = "jane@example.com", "john@example.com"
CARD = "4111 1111 1111 1111"
KEY = '-----BEGIN PRIVATE KEY-----\nMIIE"vQ\\I<&B\n-----END PRIVATE KEY-----'


def naming(*texts: str) -> Placeholders:
    """With names for what is in these texts."""
    placeholders = Placeholders([])
    for text in texts:
        placeholders.hidden(text)
    return placeholders


def test_a_value_keeps_its_name_and_every_kind_is_counted_from_one():
    placeholders = naming()
    assert placeholders.hidden(f"{MAIL}, {CARD}, {OTHER}, {MAIL}") == "<EMAIL_1>, <CARD_1>, <EMAIL_2>, <EMAIL_1>"
    assert placeholders.hidden(f"{OTHER} and new@example.com") == "<EMAIL_2> and <EMAIL_3>"
    assert placeholders.counts == {"email": 3, "credit_card": 1}


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("EMAIL 1, PHONE_1, EMAIL_X", "<EMAIL_1> <EMAIL_2>"),
        ("EMAIL_1", "<EMAIL_2> <EMAIL_3>"),
        ("EMAIL_2 and EMAIL_3", "<EMAIL_1> <EMAIL_4>"),
        ("EM\\u0041IL_1", "<EMAIL_2> <EMAIL_3>"),
        ("EM%41IL_1", "<EMAIL_2> <EMAIL_3>"),
        ("EM&#65;IL_1", "<EMAIL_2> <EMAIL_3>"),
    ],
)
def test_a_name_that_the_request_holds_itself_is_never_given(own, given):
    assert Placeholders(["hi", own]).hidden(f"{MAIL} {OTHER}") == given


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f'{{"to": "{MAIL}", "or": "{OTHER}"}}', '{"to": "<EMAIL_1>", "or": "<EMAIL_2>"}'),
        (f'{{"{MAIL}": "a", "n": [1, "{MAIL}"]}}', '{"<EMAIL_1>": "a", "n": [1, "<EMAIL_1>"]}'),
        (f'{{"card": 4111111111111111, "to": "{MAIL}"}}', '{"card": 4111111111111111, "to": "<EMAIL_1>"}'),
        (f'["\\n{MAIL}\\n", "\\"{OTHER}\\""]', '["\\n<EMAIL_1>\\n", "\\"<EMAIL_2>\\""]'),
        (f'["\\f{MAIL}", "\\b{OTHER}"]', '["\\f<EMAIL_1>", "\\b<EMAIL_2>"]'),
        (f'["\\\\{MAIL}", "\\\\\\f{MAIL}"]', '["\\\\<EMAIL_1>", "\\\\\\f<EMAIL_1>"]'),
        (
            '["-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"]',
            '["<SECRET_1>"]',
        ),  # as some models write it
        (json.dumps([KEY, "x"]), '["<SECRET_1>", "x"]'),
        ('{"n": 1}', '{"n": 1}'),
    ],
)
def test_json_stays_json(text, hidden):
    assert naming().hidden_in_json(text) == hidden


def test_a_value_in_json_is_known_by_what_it_means():
    placeholders = naming(KEY)
    assert placeholders.hidden_in_json(json.dumps([KEY])) == '["<SECRET_1>"]'
    assert placeholders.counts == {"secret": 1}


ONCE = json.dumps(KEY)[1:-1]
IN_HTML = html.escape(KEY, quote=False)


@pytest.mark.parametrize(
    ("form", "plain", "in_json"),
    [
        ("<SECRET_1>", KEY, ONCE),
        ("\\u003cSECRET_1\\u003e", ONCE, ONCE),
        ("\\\\u003CSECRET_1\\\\u003E", json.dumps(ONCE)[1:-1], json.dumps(ONCE)[1:-1]),
        ("&lt;SECRET_1&gt;", IN_HTML, json.dumps(IN_HTML)[1:-1]),
        ("<SECRET_2>", "<SECRET_2>", "<SECRET_2>"),
        ("SECRET_1", "SECRET_1", "SECRET_1"),
        ("\\u003cSECRET_1\\\\u003e", "\\u003cSECRET_1\\\\u003e", "\\u003cSECRET_1\\\\u003e"),
    ],
)
def test_a_value_is_escaped_as_its_name_was(form, plain, in_json):
    placeholders = naming(KEY)
    assert placeholders.shown(f"a {form}, {form}", is_json=False) == f"a {plain}, {plain}"
    assert placeholders.shown(f"a {form}", is_json=True) == f"a {in_json}"


def test_letters_of_any_language_are_shown_as_they_are():
    assert naming("jürgen@example.com").shown("<EMAIL_1>", is_json=True) == "jürgen@example.com"


@pytest.mark.parametrize(
    ("now", "held"),
    [
        ("", ""),
        ("a ", "<"),
        ("a ", "<EMAIL_"),
        ("a <", "<EMAIL_1"),
        ("a <EMAIL_1> ", "<SECRET_1"),
        ("a <EMAIL_1>", ""),
        ("a <EMAIL_2", ""),
        ("a <b", ""),
        ("a EMAIL_1", ""),
        ("a ", "\\"),
        ("a ", "\\u003CEMAIL_1\\u003"),
        ("a ", "\\\\u003cSECRET_1\\\\u003"),
        ("", "\\\\u003cSECRET_1\\\\u003"),
        ("a \\u003cEMAIL_1\\u003e", ""),
        ("a ", "&lt;SECRET_1&gt"),
        ("a & b ", "&l"),
    ],
)
def test_only_what_may_become_a_name_is_held_back(now, held):
    assert naming(MAIL, KEY).parted(now + held) == (now, held)


def test_without_a_name_nothing_is_held_back_and_a_new_one_is():
    placeholders = naming()
    assert placeholders.parted("a <EM") == ("a <EM", "")
    placeholders.hidden(MAIL)
    assert placeholders.parted("a <EM") == ("a ", "<EM")
    placeholders.hidden(KEY)
    assert placeholders.parted("a <SE") == ("a ", "<SE")
