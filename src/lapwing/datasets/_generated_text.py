"""Made-up texts, for stand-ins: a few words say what a text is about, most say nothing."""

from collections.abc import Sequence

import numpy as np

NEUTRAL_WORDS = 400
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstv" for vowel in "aeiou"]
MARKS = [".", ",", "!", "?", ";", ":"]


def neutral_words(generator: np.random.Generator) -> list[str]:
    """400 different words of two or three syllables that mean nothing."""
    words: set[str] = set()
    while len(words) < NEUTRAL_WORDS:
        words.add("".join(generator.choice(SYLLABLES, size=generator.integers(2, 4))))
    return sorted(words)


def text_about(
    generator: np.random.Generator, neutral: Sequence[str], telling: Sequence[str], length: int
) -> str:
    """`length` words: the telling ones, each at a place of its own, between neutral ones.

    It has the punctuation, quotes and line breaks that a tokeniser has to cope with.
    """
    words = generator.choice(neutral, size=length).tolist()
    for place, word in zip(generator.permutation(length)[: len(telling)].tolist(), telling, strict=True):
        words[place] = f'"{word}"' if generator.random() < 0.1 else word
    for place in np.flatnonzero(generator.random(length) < 0.1).tolist():
        words[place] += str(generator.choice(MARKS))
    if generator.random() < 0.3:
        words.insert(int(generator.integers(length)), "<br /><br />")
    return (" ".join(words) + ".").capitalize()
