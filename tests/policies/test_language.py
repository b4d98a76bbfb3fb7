"""Languages: told by script and little words, and not told where nothing tells."""

# ruff: noqa: RUF001 - other scripts are meant
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.policies.language import KNOWN, language_of

ASKS = {
    "en": ["What time is it in Madrid?", "Write a quicksort in Python", "Who wrote Hamlet?", "What is the sum?"],
    "de": ["Wie spät ist es in Madrid?", "Schreibe mir eine E-Mail an meinen Chef", "Wer hat Hamlet geschrieben?"],
    "fr": ["Quelle heure est-il à Madrid ?", "Bonjour, ça va ?", "Écris un poème sur la mer"],
    "es": ["¿Qué hora es en Madrid?", "Escribe un poema", "Explica la teoría de la relatividad"],
    "it": ["Che ore sono a Madrid?", "Chi ha scritto Amleto?", "Scrivi una poesia sul mare"],
    "pt": ["Que horas são em Madri?", "Escreva um poema sobre o mar"],
    "nl": ["Hoe laat is het in Madrid?", "Schrijf een gedicht over de zee"],
    "sv": ["Vad är klockan i Madrid?"],
    "da": ["Hvad er klokken i Madrid?"],
    "no": ["Hva er klokken i Madrid?"],
    "fi": ["Paljonko kello on Madridissa?"],
    "pl": ["Która jest godzina w Madrycie?"],
    "cs": ["Kolik je hodin v Madridu?"],
    "ro": ["Cât este ceasul la Madrid?"],
    "hu": ["Hány óra van Madridban?"],
    "tr": ["Deniz hakkında bir şiir yaz"],
    "id": ["Jam berapa sekarang di Madrid?"],
    "vi": ["Bây giờ là mấy giờ ở Madrid?"],
    "ru": ["Который час в Мадриде?", "Напиши стихотворение о море"],
    "uk": ["Котра година в Мадриді?"],
    "bg": ["Колко е часът в Мадрид?"],
    "el": ["Τι ώρα είναι στη Μαδρίτη;"],
    "ar": ["كم الساعة في مدريد؟"],
    "fa": ["ساعت در مادرید چند است؟ چرا"],
    "ur": ["میڈرڈ میں کیا وقت ہوا ہے؟"],
    "he": ["מה השעה במדריד?"],
    "hi": ["मैड्रिड में क्या समय है?"],
    "bn": ["মাদ্রিদে এখন কয়টা বাজে?"],
    "ta": ["மாட்ரிட்டில் இப்போது மணி என்ன?"],
    "th": ["ตอนนี้กี่โมงแล้ว"],
    "ja": ["マドリードは何時ですか?"],
    "zh": ["马德里现在几点?"],
    "ko": ["마드리드는 지금 몇 시인가요?"],
}  # fmt: skip


@pytest.mark.parametrize(("code", "ask"), [(code, ask) for code, asks in ASKS.items() for ask in asks])
def test_a_short_ask_has_its_language(code, ask):
    assert language_of(ask) == code


def test_every_known_language_has_an_example():
    assert set(ASKS) == KNOWN


@pytest.mark.parametrize(
    "text", ["", "asdfgh", "3 + 4", "Madrid", 'print("x")', '{"a": 1}', "🙂", "x = y[0]", "`the of and`"]
)
def test_what_tells_nothing_has_none(text):
    assert language_of(text) is None


def test_code_and_addresses_say_nothing():
    assert language_of("Erkläre mir das bitte:\n```\nfor the of and in is that it for was on are as\n```") == "de"


@given(st.text())
def test_any_text_has_a_known_language_or_none(text):
    assert language_of(text) in {None, *KNOWN}
