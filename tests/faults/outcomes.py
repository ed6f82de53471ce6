"""What makes a refusal a clear one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lapwing.errors import UserError


def is_clear(text: str, *words: str) -> None:
    """What was printed holds one sentence of ours with these words, and no traceback."""
    assert "Traceback" not in text, text
    sentences = re.findall(r"^lapwing: .*$", text, re.MULTILINE)
    assert any(all(word in sentence for word in words) for sentence in sentences), text


def refusal(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    """The one sentence with which the package refuses a call."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **more)
    sentence = str(caught.value)
    assert "\n" not in sentence, sentence
    return sentence


def files_in(folder: Path) -> set[str]:
    """All files of a folder, to see that nothing was added."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
