"""Signs of a bad answer in its text alone: refusal, repetition, an end in the middle, another language. Pure."""

import re

from weighbridge.policies.language import language_of

_OPENING = 240  # characters: who refuses says so at once
_FEW = 24  # words; fewer repeat nothing worth the name
_PROSE = 40  # words; a shorter answer may well end without a full stop
_RUN = 4  # words
_OF_AN_ASK = 4000  # characters
_ROUNDS = 4  # of the same, one after the other, are a loop
_LONGEST_ROUND = 160  # characters
_SHORTEST_LOOP = 40

# How models decline, in the languages in which they mostly do. Apologies alone are no refusal.
_REFUSES = re.compile(
    r"""
    \b(?: as\ an?\ (?:ai|artificial|language|large\ language)\b
        | i(?:['\u2019]m|\ am)\ (?:just\ |only\ )?an?\ (?:ai|language\ model|text-based)\b
        | i(?:['\u2019]m|\ am)\ (?:not\ able|unable)\ to\b
        | i\ (?:can['\u2019]?t|cannot|can\ not|won['\u2019]t|must\ decline\ to|am\ not\ allowed\ to)
          \ (?:assist|help|answer|provide|do|fulfil|comply|access|browse|create|generate|write|support|discuss|complete)
        | i\ (?:don['\u2019]t|do\ not)\ have\ (?:access|the\ ability|real-?time|enough\ (?:information|context))\b
        | i\ (?:don['\u2019]t|do\ not)\ know\b
        | (?:als|da\ ich)\ (?:ein\ )?(?:ki|sprachmodell)
        | (?:ich\ kann|kann\ ich)\ (?:\w+\ ){0,4}(?:nicht|leider\ nicht)\ (?:helfen|beantworten|weiterhelfen|erstellen)
        | ich\ bin\ nicht\ in\ der\ lage
        | en\ tant\ qu['\u2019](?:ia|assistant|intelligence|un?\ mod\u00e8le)
        | je\ ne\ (?:peux|suis)\ pas\ (?:vous\ aider|r\u00e9pondre|capable|fournir)
        | como\ (?:una\ |um\ |uma\ )?(?:ia|modelo\ de\ l|inteligencia|intelig\u00eancia)
        | (?:no|n\u00e3o)\ (?:puedo|posso)\ (?:ayudar|ajudar|responder|proporcionar|fornecer)
        | come\ (?:ia|modello\ (?:di|linguistico)|intelligenza)
        | non\ posso\ (?:aiutar|fornire|rispondere)
        | als\ (?:ai|taalmodel) | ik\ kan\ (?:je\ |u\ )?(?:niet\ helpen|hier\ niet\ bij\ helpen)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"\w+")
_ENDS = tuple(
    ".!?:;\u2026\u3002\uff01\uff1f)]}>\"'\u201d\u2019\u00bb*_`|~$%/="
)  # of a sentence, a list, a formula, markup
_LIST_LINE = re.compile(r"^\s*(?:[-*+\u2022#>|]|\d+[.)])")
_TRANSLATES = re.compile(
    r"""translat|\u00fcbersetz|tradu[ciz\u00e7]|vertaal|overs\u00e6t|\u00f6vers\u00e4tt|przet\u0142um|p\u0159elo\u017e|\u7ffb\u8bd1|\u7ffb\u8a33|\u043f\u0435\u0440\u0435\u0432\u0435\u0434
        |\b(?:english|german|french|spanish|italian|portuguese|dutch|swedish|danish|norwegian|finnish|polish|czech
        |romanian|hungarian|turkish|indonesian|vietnamese|japanese|korean|chinese|mandarin|thai|greek|hebrew|hindi
        |bengali|tamil|arabic|persian|farsi|urdu|russian|ukrainian|bulgarian|latin
        |englisch|deutsch|franz\u00f6sisch|spanisch|italienisch|anglais|allemand|fran\u00e7ais|espagnol|ingl\u00e9s|alem\u00e1n
        |franc\u00e9s|espa\u00f1ol|inglese|tedesco|francese|ingl\u00eas|alem\u00e3o)\b""",
    re.IGNORECASE | re.VERBOSE,
)


def refuses(text: str) -> bool:
    """It begins by saying that it will not, or cannot."""
    return bool(_REFUSES.search(text[:_OPENING]))


def repeated(text: str) -> float:
    """The share of its four-word runs that were there before, 0..1. Code repeats itself rightly, and does not count."""
    words = _WORD.findall(_CODE.sub(" ", text).lower())
    if len(words) < _FEW:
        return 0.0
    runs = [tuple(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1)]
    return 1 - len(set(runs)) / len(runs)


def loops(text: str) -> bool:
    """It ends in the same words, again and again."""
    end = text.rstrip()[-_LONGEST_ROUND * _ROUNDS :]
    for size in range(1, _LONGEST_ROUND + 1):
        span = max(size * _ROUNDS, _SHORTEST_LOOP)
        if span > len(end):
            break
        tail = end[-span:]
        if tail[size:] == tail[:-size] and any(character.isalpha() for character in tail[:size]):
            return True
    return False


def breaks_off(text: str) -> bool:
    """A whole answer that ends in the middle of a sentence, or within code."""
    if text.count("```") % 2:
        return True
    stripped = text.rstrip()
    if len(_WORD.findall(stripped)) < _PROSE or stripped.endswith(_ENDS):
        return False
    last = stripped.rpartition("\n")[2]
    is_entry = bool(_LIST_LINE.match(last)) or len(_WORD.findall(last)) < 8  # of a list, a poem, a signature
    return (not is_entry and stripped[-1].isalnum()) or stripped[-1] in ",-\u2013\u2014("


def is_other_language(ask: str, text: str) -> bool:
    """The answer is in another language than the ask, which wants none. False where either cannot be told."""
    if _TRANSLATES.search(ask[:_OF_AN_ASK]):
        return False
    asked = language_of(ask)
    if asked is None:
        return False
    answered = language_of(text)
    return answered is not None and answered != asked and {asked, answered} not in _ALIKE


# Short texts of these look alike to a reader of little words.
_ALIKE = ({"da", "no"}, {"sv", "no"}, {"da", "sv"}, {"es", "pt"}, {"cs", "pl"}, {"ru", "bg"}, {"ru", "uk"})
