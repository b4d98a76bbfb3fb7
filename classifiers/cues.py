"""Cues: the words with which people ask for plain work on a text. They stand where the ask begins, or where it ends.

An embedding of an ask with a long text pasted into it is mostly one of the text; these words are not lost in it.
"""

import re

PRECISION = 0.95  # how often they are right, at least, on the prompts of our own

_POLITE = r"(?:please|kindly|now|(?:can|could|would|will) you(?: please)?|i (?:want|need) you to|bitte|por favor)"
# At the start of a line or of a sentence.
_START = rf"(?:^|[.!?)\"']\s+)(?:{_POLITE},?\s+)?"
_REACH = 240  # characters of the first line, and of the last, that are read

_LANGUAGE = "(?:english|french|german|spanish|italian|portuguese|dutch|polish|latin|japanese|chinese)"
_THINGS = "(?:names|dates|numbers|places|people|cities|companies|amounts|emails?|phone|urls?|prices|items|products)"
_KIND = "(?:positive|negative|spam|urgent|fact|sarcastic|toxic|formal)"
_EVERY = "(?:(?:all|every|each|the|any) )+"
_WORDS = {
    "summarization": (
        "summari[sz]e", r"sum (?:\w+ )?up", "tl;?dr", "synthesi[sz]e", "condense",
        r"(?:(?:give|write|make|create|provide)(?: me| us)? )?(?:(?:a|an|the|your) )?(?:[\w-]+ ){0,3}summary",
        r"(?:give|make|write|suggest|find)(?: me)? (?:an? )?(?:\w+ )?(?:title|headline|abstract)\b",
        "what(?: is|'s) (?:this|the text) about", "what (?:is|are) the (?:main|key) (?:points?|ideas?|takeaways?)",
        r"fasse?\b(?=.*\bzusammen)", "zusammenfassung", "résume[rz]?", "resum[ea]", "riassumi",
    ),
    "translation": (
        "(?:re)?translate", "locali[sz]e", "how (?:do|would|can) (?:you|i|we|one) say",
        f"put (?:this|it|that) in(?:to)? {_LANGUAGE}", "what does .{1,60} mean in",
        r"what(?:'s| is) the \w+ (?:word|expression) for", "übersetze", "übertrage", "traduis", "traduisez", "traduzca",
        "traduce", "traduci", "traduza", "wie (?:heißt|sagt man) .{1,60} auf", "¿?cómo se dice", "把.{1,60}翻译",
        "翻译",
    ),
    "extraction": (
        "extract", r"pull (?:\w+ )?out", "copy out", "extrae", "extrais", "extrahiere",
        rf"(?:list|find|get|give me) {_EVERY}(?:\w+ )?{_THINGS}",
        rf"(?:which|what) (?:\w+ )?{_THINGS} (?:are|is|occur|appear|come)", r"welche \w+ werden genannt",
        "who is the (?:sender|recipient)",
    ),
    "classification": (
        "classify", "klassifiziere", "categori[sz]e", "(?:label|tag) (?:each|every|this|these|the|all)",
        "sort (?:each|these|this) into", "what(?: is|'s) the (?:sentiment|tone|mood|topic|category) of",
        rf"is (?:this|the|it) (?:\w+ ){{0,4}}{_KIND}\b", r"(?:spam|urgent|fact|positive|sarcasm) or\b",
        "what language is (?:this|that)", "welche sprache ist", "does this (?:text|email|message|mail) mention",
        r"ist (?:das|dies|diese \w+) (?:positiv|negativ)", "¿?es (?:positivo|negativo)",
        "rate the (?:mood|sentiment|tone)",
    ),
    "rewriting": (
        "re(?:write|phrase|word|draft)", "paraphrase", "proof-?read", "copy-?edit", "simplify", "shorten",
        "polish (?:this|my|the)",
        r"(?:correct|fix|check) (?:(?:the|my|this|any|all) )?(?:\w+ )?"
        r"(?:grammar|spelling|typos?|punctuation|wording|sentence)",
        r"make (?:this|it|that|these|(?:my|the) \w+)(?: \w+){0,3} "
        r"(?:short|long|formal|polite|friendl|concise|clear|simple|casual|professional|natural|firm)\w*",
        r"put (?:this|it|that)(?: \w+){0,2} in(?:to)? (?:uppercase|lowercase|the past|passive|plain|bullet)",
        f"(?:remove|delete) {_EVERY}(?:commas|line breaks|word|typos|duplicates)", "turn (?:this|it|these) into",
        "korrigiere", "formuliere", "umformulieren", "corrige", "reformule", "verbessere",
    ),
}  # fmt: skip
_CUES = tuple((task, re.compile(f"{_START}(?:{'|'.join(words)})", re.IGNORECASE)) for task, words in _WORDS.items())


def task_of(ask: str) -> str | None:
    """The task that the ask names in so many words; None where it names none, or several."""
    lines = ask.strip().splitlines()
    if not lines:
        return None
    ends = dict.fromkeys((lines[0].strip()[:_REACH], lines[-1].strip()[-_REACH:]))
    found = {task for task, cue in _CUES if any(cue.search(line) for line in ends)}
    return found.pop() if len(found) == 1 else None
