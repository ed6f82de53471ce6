"""A user's mistake is told in one sentence, without a traceback; nothing else catches everything."""

import contextlib
import difflib
import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any


class UserError(Exception):
    """Something that the user can put right; its text is one sentence: what, where, what would be right."""

    def __init__(self, sentence: str) -> None:
        """What cannot be printed, the end of a line in a name for instance, is shown as Python writes it."""
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
        super().__init__("".join(shown))


def optional(module: str, extra: str) -> Any:
    """A module that an extra of the package brings.

    Raises:
        UserError: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; it comes with the extra {extra}: pip install 'lapwing[{extra}]'."
        ) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    known = sorted(known)
    key, _, value = word.partition(":")
    if value and key in known:
        return f"in YAML a space follows the colon: {key}: {value}"
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}."


@contextlib.contextmanager
def as_one_sentence() -> Iterator[None]:
    """Turn a `UserError` into its sentence and exit code 1."""
    try:
        yield
    except UserError as error:
        sys.exit(f"lapwing: {error}")
