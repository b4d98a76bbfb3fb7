"""The tokens of plain text, beside those of the shipped tokenizer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from weighbridge.classifiers import wordpiece
from weighbridge.classifiers.minilm import SHIPPED, TOKENIZER
from weighbridge.classifiers.wordpiece import WordPiece


@pytest.fixture(scope="module")
def encode():
    tokenizer = Tokenizer.from_file(str(SHIPPED / TOKENIZER))
    return lambda texts: [found.ids for found in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.fixture(scope="module")
def words(encode):
    return WordPiece(encode)


TEXTS = (
    st.text(st.characters(max_codepoint=0x17F))
    | st.text("aB 9.,_'\"[]#\t\n\r\x0b\x0c\x1c\x7f\x00é日")
    | st.lists(st.sampled_from(["[CLS]", "[sep]", "[MASK]", "don't", "e.g.", "x" * 101, "UPPER", " ", "\n"])).map(
        "".join
    )
)


@given(TEXTS)
@example("")
@example("def f(x):\n\treturn x**2  # don't\n")
@example("a\x1fb\x85c\u2028d")
@example("[CLS] and [SEP] and [cls]")
@example("İstanbul ﬁne K")
def test_the_tokens_are_the_tokenizers_own(words, encode, text):
    assert words.tokens_of([text]) == encode([text])
    assert words.tokens_of([text, text]) == encode([text, text])  # known by now


def test_a_word_is_asked_for_once():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return [[len(text)] for text in texts]

    words = WordPiece(encode)
    asked.clear()
    words._is_like_bert = True
    assert words.tokens_of(["One? Two", "two one"]) == [[3, 1, 3], [3, 3]]
    assert sorted(asked) == ["?", "one", "two"]
    words.tokens_of(["x" * 41, "x" * 41])
    assert asked.count("x" * 41) == 2  # too long to be kept


def test_the_table_stays_small(monkeypatch):
    monkeypatch.setattr(wordpiece, "_MAX_WORDS", 3)
    words = WordPiece(lambda texts: [[len(text)] for text in texts])
    words._is_like_bert = True
    for text in ("a bb", "ccc dddd a", "a bb ccc dddd eeeee"):
        assert words.tokens_of([text]) == [[len(word) for word in text.split()]]
    assert len(words._known) <= 5


def test_a_tokenizer_that_splits_otherwise_is_asked_for_everything():
    words = WordPiece(lambda texts: [[ord(character) for character in text] for text in texts])
    assert words.tokens_of(["Ab c"]) == [[65, 98, 32, 99]]
