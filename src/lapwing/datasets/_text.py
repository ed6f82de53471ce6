"""From texts to numbers: the only place that knows torchtext, and only the prepare stage comes here.

torchtext is archived: its last release, 0.18.0, works with PyTorch 2.3 alone, and its pure-Python
release 0.6.0 with today's. Their vocabularies are made in different ways; what comes out is the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

import numpy as np

from lapwing.errors import optional
from lapwing.files import Array

PAD, UNKNOWN = "<pad>", "<unk>"
SPECIALS = [PAD, UNKNOWN]
"""The words 0 and 1: what fills a text up, and what stands for a word that is not in the vocabulary."""


def text_arrays(
    texts: Mapping[str, Sequence[str]], length: int, vocabulary_of: Sequence[str]
) -> dict[str, Array]:
    """The texts of each split as numbers of words, and the vocabulary.

    Args:
        texts: split → N texts.
        length: L; a text keeps its first L words, and is filled up with `<pad>`.
        vocabulary_of: the splits whose words are numbered.

    Returns:
        `<split>/inputs`: int32 [N, L] of each split; `vocabulary`: the words in the order of their numbers.

    Source: lap-experiments 6.6.
    """
    words = vocabulary(chain.from_iterable(texts[split] for split in vocabulary_of))
    arrays = {f"{split}/inputs": numbered(some, words, length) for split, some in texts.items()}
    return {**arrays, "vocabulary": packed(words)}


def vocabulary(texts: Iterable[str]) -> list[str]:
    """`<pad>`, `<unk>`, then all words of the texts: the frequent first, ties alphabetical."""
    vocab = optional("torchtext.vocab", "text")
    tokens = tokenised(texts)
    if hasattr(vocab.Vocab, "get_itos"):  # later releases
        return cast(list[str], vocab.build_vocab_from_iterator(tokens, specials=SPECIALS).get_itos())
    counts = Counter(chain.from_iterable(tokens))
    return cast(list[str], vocab.Vocab(counts, specials=SPECIALS).itos)


def tokenised(texts: Iterable[str]) -> Iterator[list[str]]:
    """The words of each text, as torchtext's `basic_english` has them."""
    utils = optional("torchtext.data.utils", "text")
    return map(utils.get_tokenizer("basic_english"), texts)


def numbered(texts: Sequence[str], words: Sequence[str], length: int) -> Array:
    """The numbers of the first `length` words of each text, int32 [N, length]."""
    number = {word: place for place, word in enumerate(words)}
    numbers = np.full((len(texts), length), number[PAD], np.int32)
    for row, tokens in zip(numbers, tokenised(texts), strict=True):
        kept = tokens[:length]
        row[: len(kept)] = [number.get(word, number[UNKNOWN]) for word in kept]
    return numbers


def packed(words: Sequence[str]) -> Array:
    """Words as the array that a prepared file holds: uint8, UTF-8, joined by line feeds."""
    return np.frombuffer("\n".join(words).encode(), np.uint8).copy()
