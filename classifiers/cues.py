"""Cues: the words with which people ask for a kind of work. They stand where the ask begins, or where it ends.

An embedding of an ask with a long text pasted into it is mostly one of the text; these words are not lost in it. What
names a programming language, or is written in one, is about code where nothing else is named.
"""

import re
from itertools import pairwise

PRECISION = 0.95  # how often they are right, at least, on the prompts of our own

_POLITE = r"(?:please|kindly|now|(?:can|could|would|will) you(?: please)?|i (?:want|need) you to|bitte|por favor)"
_STARTS = re.compile(r"^|[.!?)\"']\s+")  # of a line or of a sentence
_REACH = 240  # characters of the first line, and of the last, that are read

_LANGUAGE = "(?:english|french|german|spanish|italian|portuguese|dutch|polish|latin|japanese|chinese)"
_THINGS = "(?:names|dates|numbers|places|people|cities|companies|amounts|emails?|phone|urls?|prices|items|products)"
_MAKE = "(?:write|compose|create|make|give|draft|prepare|design|build|set up|draw up)"
_HELLO = r"hi|hello|hey|hallo|hola|bonjour|good\ (?:morning|evening|night|afternoon)|guten\ (?:morgen|tag|abend)"
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
        "who is the (?:sender|recipient)", r"(?:which|what) \w+ (?:is|are) (?:mentioned|named)",
        r"what(?:'s| is) the (?:[\w-]+ ){1,3}(?:in|here|from) ?(?:this|the|:)? ?(?:sentence|text|message|email|line)?\b"
        r"(?=.*[\"“„])",
        r"finde (?:das|die|den|alle) ", r"list the \w+ mentioned",
    ),
    "classification": (
        "classify", "klassifiziere", "categori[sz]e", "(?:label|tag) (?:each|every|this|these|the|all)",
        "sort (?:each|these|this) into", "what(?: is|'s) the (?:sentiment|tone|mood|topic|category) of",
        rf"is (?:this|the|it) (?:\w+ ){{0,4}}{_KIND}\b", r"(?:spam|urgent|fact|positive|sarcasm) or\b",
        "what language is (?:this|that)", "welche sprache ist", "does this (?:text|email|message|mail) mention",
        r"ist (?:das|dies|diese \w+) (?:positiv|negativ)", "¿?es (?:positivo|negativo)",
        "rate the (?:mood|sentiment|tone)", "true or false", r"(?:\w+, )?\w+ or neutral", "(?:even or odd|odd or even)",
        "which category", "spam oder kein spam", "fact or opinion",
        r"is [\"'].{1,60}[\"'] an? \w+(?:, an? \w+)* or an? ",
        r"is this (?:\w+ )?an? \w+ or an? ", r"sort (?:these|those|the) [\w ]+ by (?:urgency|topic|type|priority)",
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
        "make (?:it|this|that) sound", "change .{1,40} to (?:passive|active|american|british|past|present)",
        r"put (?:these|this|them) in (?:alphabetical|chronological|reverse) order", "reverse the order of",
        r"capitali[sz]e (?:every|each|the|all)", r"replace (?:all|every|each) ", r"(?:give me )?another way to say",
        r"write this as an? ", "mach daraus", "rends cette", "korrigiere", "formuliere", "umformulieren", "corrige",
        "reformule", "verbessere",
    ),
    "creative_writing": (
        rf"(?:{_MAKE} )?(?:me )?(?:an? |the )?(?:[\w-]+ ){{0,4}}"
        r"(?:poem|haiku|limerick|sonnet|ballad|villanelle|rhyme|short story|bedtime story|fairy tale|song|lyrics|slogan"
        r"|tagline|tweet|caption|toast|eulogy|cover letter|blog post|speech|monologue|novel|screenplay"
        r"|(?:birthday|thank-you|get-well\S*) (?:note|card|message))\b",
        r"(?:suggest|give me|invent|make up|come up with) (?:(?:an?|some|two|three|four|five|ten) )?(?:\w+ )?"
        r"(?:user|team )?names? for\b",
        r"schreib\w* (?:mir )?(?:ein\w* )?(?:\w+ ){0,3}(?:gedicht|\w*geschichte|zweizeiler|roman|novelle)\w*",
        r"[ée]cris(?:-moi)? (?:une? )?(?:\w+ ){0,2}(?:poème|lettre|histoire|conte|mot)\b",
        r"escribe (?:una? )?(?:\w+ ){0,2}(?:cuento|poema|historia|carta|mensaje)\b",
    ),
    "planning": (
        r"(?:help me )?plan (?:an?|the|my|our|out)\b", "planifie", r"plane (?:ein|mir|eine|einen|die|den)\b",
        rf"(?:{_MAKE} )(?:me )?(?:an? |the )?(?:[\w-]+ ){{0,3}}(?:itinerary|agenda|schedule|budget|roadmap|packing list"
        r"|shopping list|to-?do list|meal plan|study plan|training plan|checklist|routine|timetable)\b",
        r"(?:make|create|draft|write|prepare|set up) (?:me )?(?:an? |the )?(?:[\w-]+ ){0,3}plan\b",
        r"what (?:should|do) i (?:pack|cook|bring|need for)\b",
        r"suggest an? (?:\w+ )?(?:\w+ )?(?:routine|itinerary|menu)",
        r"mach mir (?:eine|einen) .{0,30}(?:liste|plan)", r"entwirf ein\w* (?:roadmap|plan)", r"schedule \d+",
    ),
    "reasoning": (
        "prove", "show that", "disprove", "derive", "calculate", "compute", "solve", r"beweise\b", "berechne", "löse",
        r"(?:what(?:'s| is)|was ist|wie viel (?:ist|sind)|combien font|¿?cuánto es)?\s*"
        r"-?\d[\d.,]*\s*(?:%|percent|prozent)?"
        r"\s*(?:[+*x\u00d7÷^]|\s-\s|/(?!\d+/)|plus|minus|times|mal|divided by|fois|más|of|von)\s*-?\d",
        r"what is the (?:square root|average|mean|median|probability|derivative|integral|area|volume|sum) of",
        r"(?:find|determine) (?:the|all) (?:derivative|integral|area|probability|value|number|limit|eigenvalues?)\b",
        r"average of \d", r"round \d", r"is \d+ (?:a )?prime",
    ),
}  # fmt: skip
_CHAT = re.compile(
    rf"""(?: (?:{_HELLO})[\s,!.]*(?:there|you|everyone|all|again)?[\s!.?:)]*
      | (?:(?:{_HELLO})[\s,!.]*(?:there)?[\s,!.]*)?(?:how\ are\ you|how's\ it\ going|what's\ up|how\ was\ your\ \w+
        |wie\ geht'?s?(?:\ dir|\ es\ dir)?|ça\ va|are\ you\ there|who\ are\ you|what\ can\ you\ do)[\s!.?]*
      | (?:thanks?|thank\ you|danke|merci|gracias)\b[^.?:\n]{{0,40}}[!.]*
      | tell\ me\ (?:a|another|some)\ (?:\w+\ )?jokes?[\s!.?]* )""",
    re.IGNORECASE | re.VERBOSE,
)
_PROGRAMS = frozenset(
    """
        python javascript typescript java kotlin golang rust sql postgres postgresql sqlite mysql bash powershell css
        html json yaml xml numpy pandas react vue django flask fastapi node node.js npm docker dockerfile kubernetes
        terraform ansible git github vim refactor debug segfault asyncio regex compile compiler c++ c#
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_PROGRAM_PAIRS = frozenset(
    {
        "shell script", "linux command", "unit test", "unit tests", "one liner", "stack trace", "regular expression",
        "api endpoint", "rest api", "rest endpoint", "type hint", "type hints",
    }
)  # fmt: skip
_TOKEN = re.compile(r"[\w+#.]+")
# As programs write it: "Let x = 5" and "From the text:" are no code.
_PROGRAM = re.compile(
    r"\s*(?:(?-i:def|class|import|from|function|const|let|var|fn|public)|select|#include) \S+.*[({;:=*]", re.IGNORECASE
)
_CUES = tuple(
    (task, re.compile(rf"(?:{_POLITE},?\s+)?(?:{'|'.join(words)})", re.IGNORECASE)) for task, words in _WORDS.items()
)


def task_of(ask: str) -> str | None:
    """The task that the ask names in so many words; None where it names none, or several."""
    lines = ask.strip().splitlines()
    if not lines:
        return None
    ends = dict.fromkeys((lines[0].strip()[:_REACH], lines[-1].strip()[-_REACH:]))
    starts = [(line, found.end()) for line in ends for found in _STARTS.finditer(line)]
    found = {task for task, cue in _CUES if any(cue.match(line, start) for line, start in starts)}
    if not found and any(map(_is_of_programs, ends)):
        found.add("code")
    if _CHAT.fullmatch(ask.strip()):  # the whole of it: else it is a greeting before an ask
        found.add("chat")
    return found.pop() if len(found) == 1 else None


def _is_of_programs(line: str) -> bool:
    words = [token.strip(".") for token in _TOKEN.findall(line.lower())]
    names = not _PROGRAMS.isdisjoint(words) or not _PROGRAM_PAIRS.isdisjoint(map(" ".join, pairwise(words)))
    return names or "```" in line or bool(_PROGRAM.match(line))
