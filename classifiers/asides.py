"""Asides: what stands round an ask and is no part of the work. It is taken off before a text is scored.

Claims of how hard or how easy the ask is, requests for a large or a small model, demands on the manner of thinking;
small talk; and loose words or marks in front, as gadgets are made that are to buy the large model (Shafran et al.,
"Rerouting LLM Routers", arXiv 2501.01818). Whoever routes by them lets the caller choose. Only what stands at the very
beginning or end goes, and never all of a text.
"""

import re

from weighbridge.classifiers.small_talk import is_small_talk

_READ = 600  # characters at either end in which an aside begins and ends
_MOST = 40  # sentences taken off at either end
_ROUNDS = 3  # a gadget may stand behind a claim
_MOST_LOOSE = 4096  # characters of loose words
_LOOSE = 7  # words in a row without one of the little words that hold sentences together
_NEAR = 2  # of them may be the ask's
_CLAIMED = 0.6  # of the words that say anything
_CLAIM_WORDS, _CLAIM_CHARS = 3, 240  # so many words at least, so many characters at most
_KINDS_OF_MARKS = 4  # in a row; of fewer people draw lines and leave blanks

_SENTENCE = re.compile(  # it ends with a mark, a smiley, a line, or where somebody says "anyway"
    r"(?<=[.!?…☀-➿\U0001f300-\U0001faff])\s+|\s*\n\s*|[,;]?\s+(?=(?:so,? )?anyways?\b)"
)
_TITLE = re.compile(r"(?<=:)\s+")
_MARKS = re.compile(r"(?:[^\w\s]|_){8,200}\s+")
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")  # noqa: RUF001  # the other apostrophe is meant
_SHORT = 3  # letters; nearly every language holds its sentences together with words no longer than this

_LITTLE = frozenset(
    """
        with from been have does could will would should might must that this than then there these those into
        what whom whose which when where over under about between such please some every each more most only
        just very your they them their also like because never always while after before through during against
        without within upon until since though although either neither both many much same other another
        anything something nothing everything someone anyone everyone quite rather being having doing made make
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
# What any ask may be called, and what may be done with it, says nothing either way.
_NEUTRAL = _LITTLE | frozenset(
    """
        answer answered answers question questions query queries prompt prompts problem problems task tasks
        request requests thing things issue matter case following follows below here next need needs needed want
        wants require requires required demand demands possible really extremely highly even handle solve solved
        done give given sure possible time work come comes going it's that's here's i've i'm don't can't doesn't
        cannot
    """.split()  # noqa: SIM905
)
# The beginnings of words that tell how hard it is, who should answer, how it should be thought over, what hangs on it.
_TELLING = tuple(
    """
        hard difficult complex complicat challeng demanding tricky intricate sophisticat nontrivial non-trivial
        advanced expert graduate doctoral phd thesis olympiad world-class high-stakes stakes mission-critical
        critical urgent urgency important crucial vital emergency priority caution warning attention serious
        simple simplest easy easi trivial basic quick straightforward routine beginner elementary model llm
        assistant gpt claude opus sonnet gemini frontier flagship premium tier route routing router escalat
        classif strong smart bright large biggest bigger small tiny smaller powerful capable capabilit
        intelligen expensive cheap weak think thought reason rigour rigor deep depth step-by-step step carefully
        careful thorough maximum maximal maximise maximize utmost fullest perfection perfect excellence accura
        precis detail exhaustive effort quality chain-of brain justify edge analysis knowledge insight
        comprehensive professor scientist genius researcher specialist scholar authority decades experience
        leading board director career depend fail mistake child anyone anybody everyone toddler nobody human
        consider multi-step domain
    """.split()  # noqa: SIM905
)
_TELLING_SHORT = frozenset({"ai", "llm", "phd", "big", "top", "gpt", "job"})
# Whoever asks for one of these beside asks.
_ASKS = re.compile(
    r"\?\W*$|\b(?:prove|derive|explain|write|translate|summari[sz]e|list|compute|calculate|design|implement|find|show|"
    r"describe|compare|convert|fix|debug|draft|analy[sz]e|discuss|what|why|how|which|who|when|where)\b",
    re.IGNORECASE,
)
_EXACT = re.compile(r"[0-9$\\=]")  # a claim has no numbers
_BEGINS = frozenset(
    """
        add answer calculate check choose compare complete compute convert correct count create debug define
        describe draft explain extract find fix generate give help identify implement improve list make name
        outline prove rephrase rewrite say shorten show solve spell suggest summarise summarize tell translate
        write hello thanks thank
    """.split()  # noqa: SIM905
)
# After loose words, an ask begins with a capital, with a greeting, or with a little word that asks.
_CAPITAL = re.compile(r"[\"'(¿¡]*(?:I|[A-Z][a-z']+)\b")
_START = re.compile(
    r"(?:good |just )?(?:who|what|how|why|when|where|which|is|are|am|can|could|do|does|did|will|would|should|was|were|"
    r"has|i|i'm|my|an?|hi|hey|hello|hiya|yo|ok|okay|lol|no|yes|nope|thx|thanks|sorry|morning|evening|night|happy|cheers|"
    r"hallo|guten|danke|bonjour|salut|merci|hola|buenos|gracias|ciao|grazie|dank|oi|obrigad[oa]|"
    r"say|add|fix|give|tell|name|make|list|spell|please)\b"
)


def without(text: str) -> str:
    """The text without the asides at its ends, stripped; never empty where the text is not. Pure."""
    text = text.strip()
    for _ in range(_ROUNDS):
        rest = _before_sentences(_after_sentences(_after_loose(_after_marks(text))))
        if rest == text:
            break
        text = rest
    return text


def _after_marks(text: str) -> str:
    found = _MARKS.match(text)
    return text[found.end() :] if found and len(set(found[0])) > _KINDS_OF_MARKS else text


def _after_loose(text: str) -> str:
    """What follows a run of words that no sentence holds together."""
    words: list[tuple[int, str]] = []
    at = 0
    for piece in text[:_MOST_LOOSE].split(" "):
        if len(piece) <= _SHORT or piece.lower() in _LITTLE or not _WORD.fullmatch(piece):
            break
        words.append((at, piece))
        at += len(piece) + 1
    if len(words) < _LOOSE or at >= min(len(text), _MOST_LOOSE):
        return text  # or nothing but loose words: that is what is asked
    begins = at if _CAPITAL.match(text, at) else _first_order(words[-_NEAR:])
    if begins is None and _START.match(text, at):
        begins = at
    return text if begins is None else text[begins:]  # without a beginning they may be words to search for


def _first_order(words: list[tuple[int, str]]) -> int | None:
    return next((at for at, word in words if word[0].isupper() or word.lower() in _BEGINS), None)


# Both go by places: to copy a text of megabytes for each of its sentences would take longer than all the rest.


def _after_sentences(text: str) -> str:
    begin = 0
    for _ in range(_MOST):
        gaps = (end.search(text, begin, begin + _READ) for end in (_SENTENCE, _TITLE))
        claimed = next((gap for gap in gaps if gap and _is_aside(text[begin : gap.start()])), None)
        if claimed is None:
            break
        begin = claimed.end()
    return text[begin:]


def _before_sentences(text: str) -> str:
    end = len(text)
    for _ in range(_MOST):
        start = 1 + max(text.rfind(mark, max(0, end - _READ), end) for mark in (". ", "! ", "? ", "\n"))
        if not start or not _is_aside(text[start:end]):
            break
        end = _without_blanks(text, start)
    return text[:end]


def _without_blanks(text: str, end: int) -> int:
    """Where what stands before a place ends without its blanks."""
    while end:
        begin = max(0, end - _READ)
        if piece := text[begin:end].rstrip():
            return begin + len(piece)
        end = begin
    return 0


def _is_aside(sentence: str) -> bool:
    return _is_claim(sentence) or is_small_talk(sentence.strip())


def _is_claim(sentence: str) -> bool:
    words = _WORD.findall(sentence.lower()) if len(sentence) <= _CLAIM_CHARS else []
    telling = others = 0
    for word in words:
        if word in _TELLING_SHORT or word.startswith(_TELLING):
            telling += 1
        elif len(word) > _SHORT and word not in _NEUTRAL:
            others += 1
    claimed = len(words) >= _CLAIM_WORDS and telling >= _CLAIMED * (telling + others) > 0
    return claimed and not _ASKS.search(sentence) and not _EXACT.search(sentence)
