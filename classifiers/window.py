"""What of a text is read: its beginning and its end, in a window of a fixed number of tokens.

A long text is cut by characters before it is tokenised (the tokenizer would read megabytes to keep a few words), then
by tokens. Both cuts keep the two ends, because the ask stands before or after what was pasted; the middle is what is
lost.
"""

from collections.abc import Sequence

# Enough characters at each end to fill its half of the window, also where words are long.
END_CHARS = 1024


def ends_of(text: str) -> str:
    """The text, or its first and last characters where it is long. What cannot be written as UTF-8 becomes "?"."""
    text = text.strip()
    if len(text) > 2 * END_CHARS:
        text = f"{text[:END_CHARS]}\n{text[-END_CHARS:]}"
    return text.encode("utf-8", "replace").decode()


def ends_of_tokens(tokens: Sequence[int], size: int) -> list[int]:
    """The tokens, or the first and last ones of them, `size` in all."""
    if len(tokens) <= size:
        return list(tokens)
    tail = size // 2
    return [*tokens[: size - tail], *tokens[len(tokens) - tail :]]
