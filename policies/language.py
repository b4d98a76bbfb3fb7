"""The language of a short text, by its script and its little words; None where they do not say.

Twenty-eight languages, no model and no dependency. It reads the ask of a chat, not a document: code and names say
nothing, and a wrong answer is worse than none, because a rule may pick an upstream by it.
"""

# ruff: noqa: RUF001 - the words of other scripts are meant
import re
from collections import defaultdict


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Scripts that one language (of those known here) has to itself.
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u4e00-\u9fff\u3400-\u4dbf]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("el", re.compile("[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("bn", re.compile("[\u0980-\u09ff]")),
    ("ta", re.compile("[\u0b80-\u0bff]")),
)
_ARABIC = re.compile("[\u0600-\u06ff]")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_PERSIAN = re.compile("[\u067e\u0686\u0698\u06af\u06cc]")
_URDU = re.compile("[\u0679\u0688\u0691\u06ba\u06d2\u06be]")
_UKRAINIAN = re.compile("[\u0456\u0457\u0454\u0491]", re.IGNORECASE)
_RUSSIAN_ONLY = re.compile("[\u044b\u044d\u0451]", re.IGNORECASE)

# The words a language cannot do without, and a few that begin most asks. Written by hand for this file.
_LITTLE_WORDS = {
    "en": """
        the of and to in is that it for was on are as with his they at be this have from or had by but what some we
        can out other were all there when your how an which their if do will each about then them these so would
        make like has more write could did my than who its find give explain please me why where does i you tell
        show create list summarize translate a not should between using into following help
    """,
    "de": """
        der die und den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat
        dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis
        mehr durch man sein wurde ich du wir ihr mir mich dir bitte warum was wer wo kann schreibe erkläre gib
        kannst soll meinen meine mein kein keine zwischen übersetze spät hauptstadt gedicht
    """,
    "fr": """
        le la les de des du et en un une est que qui dans pour pas sur plus par au aux avec ce cette ces il elle on
        nous vous je tu ne se son sa ses sont mais ou où être comme tout fait quel quelle quels peux peut écris
        explique donne moi mon ma mes pourquoi comment bonjour ça entre leur combien quoi merci traduis est-ce
        qu'est-ce
    """,
    "es": """
        el la los las de del y en un una es que por para con no se su sus lo como más pero o al este esta ese esa
        qué cuál cómo cuándo dónde quién yo tú mi me te le nos son fue ser está hay sobre entre también muy sin
        escribe explica dame puedes hola gracias ¿qué ¿cómo ¿cuál ¿por poema dime haz traduce porque
    """,
    "it": """
        il lo la i gli le di del della dei delle che è e un una in per con non si sono come più ma o al alla da nel
        nella questo questa quello cosa perché quando dove chi mi ti ci ho hai ha abbiamo essere anche scrivi spiega
        dammi puoi ciao grazie qual quale che ore tra traduci spiegami
    """,
    "pt": """
        o os as de do da dos das e em um uma é que por para com não se seu sua no na nos nas como mais mas ou ao à
        este esta isso qual quais quando onde quem eu você me meu minha são foi ser está também muito escreva
        explique dê pode olá obrigado porque entre que horas poema traduza faça quero
    """,
    "nl": """
        de het een en van in is dat op te zijn voor met die niet aan er om ook als dan maar of bij nog uit naar wat
        hoe waarom wie waar kan kun je ik jij wij mij mijn deze dit worden wordt heeft hebben geen over schrijf leg
        geef tussen laat vertaal bent ben graag
    """,
    "sv": """
        och att det i en som är av för på den med till har de inte om ett men var jag vi du kan man så från eller
        när hur vad varför vem skriv förklara ge mig min mitt mina ska också mellan efter klockan översätt
    """,
    "da": """
        og at det i en som er af for på den med til har de ikke om et men var jeg vi du kan man så fra eller når
        hvordan hvad hvorfor hvem skriv forklar giv mig min mit mine skal også mellem efter klokken oversæt blev
        meget hvilken
    """,
    "no": """
        og at det i en som er av for på den med til har de ikke om et men var jeg vi du kan man så fra eller når
        hvordan hva hvorfor hvem skriv forklar gi meg min mitt mine skal også mellom etter klokken oversett ble mye
        hvilken
    """,
    "fi": """
        ja on ei se että hän oli mutta kuin tämä ovat myös kun niin tai jos mikä mitä miten miksi kuka missä minä
        sinä me minun kirjoita selitä anna voitko paljonko kello ole olen sekä joka mukaan kuinka minulle käännä
    """,
    "pl": """
        w i na z do się nie to że jest o od po dla jak za a ale przez który która które czy co tak jego są być tym
        ten ta kto gdzie dlaczego kiedy jaki jaka mi ja ty mnie mój moja napisz wyjaśnij podaj możesz proszę między
        ze przetłumacz
    """,
    "cs": """
        a v na se je že s z do o k i ale jak za to pro by jsem jsou není co kde kdo proč kdy který která ve po od
        také jako mi můj moje napiš vysvětli dej můžeš prosím mezi kolik bude byl jaký jaké přelož
    """,
    "ro": """
        și în de la a cu pe din este nu că o un care se pentru mai ce sunt au fost sau dar cum unde când cine eu tu
        îmi mi meu mea ale lui scrie explică dă poți vă rog între ceasul cât capitala traduce despre
    """,
    "hu": """
        a az és hogy nem is egy van ez meg de már csak vagy ha mint mi ki hol miért mikor milyen hány én te volt
        lesz írj magyarázd el adj nekem kérlek között magyar mennyi kell után fordítsd óra
    """,
    "tr": """
        ve bir bu da de için ile ne o çok gibi daha en var mı mi mu mü değil ama olarak nasıl neden kim nerede hangi
        ben sen biz bana benim yaz açıkla ver misin lütfen arasında kaç saat olan şiir sonra kadar çevir nedir
    """,
    "id": """
        yang dan di untuk dengan dari ini itu tidak dalam pada adalah ke saya kamu anda akan atau juga ada bisa apa
        bagaimana mengapa siapa kapan berapa tolong tuliskan jelaskan buat buatkan oleh sebagai jam sekarang antara
        terjemahkan
    """,
    "vi": """
        và của là có trong không cho được một các với này đã người những để khi từ như về tôi bạn gì sao thế nào ở
        bao giờ hãy viết giải thích tại mấy bây thơ dịch
    """,
}


def _languages_of() -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for code, words in _LITTLE_WORDS.items():
        for word in dict.fromkeys(words.split()):
            found[word].append(code)
    return dict(found)


_LANGUAGES_OF = _languages_of()
_LETTERS = {
    "de": "ßäöü",
    "fr": "çêèëîïûœàâô",
    "es": "ñ¿¡",
    "it": "ìò",
    "pt": "ãõ",
    "sv": "å",
    "da": "æø",
    "no": "æø",
    "pl": "ąćęłńśźż",
    "cs": "ěřůďť",
    "ro": "șțăşţ",
    "hu": "őű",
    "tr": "ığş",
    "vi": "đăơưạảấầẩậắằặẹẻẽếềểễệỉịọỏốồổộớờởợụủứừửữựỳỵ",
}

KNOWN = frozenset([*_LITTLE_WORDS, *(code for code, _ in _SCRIPTS), "ar", "fa", "ur", "ru", "uk", "bg"])

_BULGARIAN_WORDS = _words_of("""
    е са на се да ще от за по как какво кой защо къде този тази който ми напиши обясни това съм
""")
_RUSSIAN_WORDS = _words_of("""
    и в о об не на что как это по но из у за то же от так для или если мне я ты мы он она они который где когда
    почему кто напиши объясни расскажи сделай переведи пожалуйста какой какая
""")

_NOT_PROSE = re.compile(r"```[^`]*```|`[^`\n]*`|https?://\S{1,500}|[\w.]{1,100}@[\w.]{1,100}")
_WORD = re.compile(r"[¿¡]?[^\W\d_]+(?:['\u2019-][^\W\d_]+)?")
_LONGEST = 1000  # characters; what comes after says nothing new


def language_of(text: str) -> str | None:
    """The ISO 639-1 code, or None."""
    prose = _NOT_PROSE.sub(" ", text[:_LONGEST]).lower()
    return _by_script(prose) or _by_little_words(prose)


def _by_script(prose: str) -> str | None:
    if prose.isascii():
        return None
    letters = sum(c.isalpha() for c in prose)
    for code, script in _SCRIPTS:
        # Japanese is mixed with Chinese characters; a fifth of kana is plenty. Others must be most of the letters.
        if len(script.findall(prose)) > letters * (0.15 if code == "ja" else 0.4):
            return code
    if len(_ARABIC.findall(prose)) > letters * 0.4:
        return "ur" if _URDU.search(prose) else "fa" if _PERSIAN.search(prose) else "ar"
    if len(_CYRILLIC.findall(prose)) > letters * 0.4:
        return _of_cyrillic(prose)
    return None


def _of_cyrillic(prose: str) -> str | None:
    if _UKRAINIAN.search(prose):
        return "uk"
    words = set(_WORD.findall(prose))
    if _RUSSIAN_ONLY.search(prose) or len(words & _RUSSIAN_WORDS) > len(words & _BULGARIAN_WORDS):
        return "ru"
    return "bg" if words & _BULGARIAN_WORDS else None


def _by_little_words(prose: str) -> str | None:
    words = _WORD.findall(prose)
    votes: defaultdict[str, float] = defaultdict(float)
    for word in words:
        languages = _LANGUAGES_OF.get(word.lstrip("¿¡"), ())
        for code in languages:  # a word of many languages says little, and so does a single letter
            votes[code] += (1 if len(word) > 1 else 0.2) / len(languages)
    if not prose.isascii():
        for code, letters in _LETTERS.items():
            votes[code] += 0.5 * sum(letter in prose for letter in letters)
    next_most, most = sorted((0.0, 0.0, *votes.values()))[-2:]
    is_clear = most >= max(0.75, len(words) * 0.12) and most >= 1.3 * next_most
    return max(votes, key=votes.__getitem__) if is_clear else None
