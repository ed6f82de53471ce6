"""A user's mistake is told in one sentence, without a traceback; nothing else catches everything."""

import contextlib
import difflib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LOG_FORMAT = "%(asctime)s %(message)s"
"""Of every line of a log."""


class UserError(Exception):
    """Something that the user can put right; its text is one sentence: what, where, what would be right."""


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
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}."


@contextlib.contextmanager
def as_one_sentence() -> Iterator[None]:
    """Turn a `UserError` into its sentence and exit code 1."""
    try:
        yield
    except UserError as error:
        sys.exit(f"lapwing: {error}")


@contextlib.contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send all output to the log at `path`; a failure is one line on the screen and exit code 1.

    Redirects file descriptors, so that what C libraries print is kept too.
    """
    screen = os.dup(2)
    with Path(path).open("w", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, force=True)
        try:
            yield
        except Exception as error:
            traceback.print_exc(file=log)
            text = f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            os.write(screen, f"lapwing: {text} (the whole story: {path})\n".encode())
            sys.exit(1)
