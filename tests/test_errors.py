"""Sentences for a user's mistakes, and logs for everything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lapwing.errors import UserError, did_you_mean, optional
from lapwing.registry import Registry


def test_near_word_is_proposed_and_otherwise_all_are_named() -> None:
    assert did_you_mean("lapp", ["standard", "lap"]) == "did you mean lap?"
    assert did_you_mean("xyz", ["standard", "lap"]) == "known: lap, standard."
    assert did_you_mean("xyz", []) == "known: none."


def test_module_of_an_extra_that_is_not_installed_is_told_with_the_extra() -> None:
    assert optional("json", "text") is json
    with pytest.raises(UserError, match=r"no_such is not installed; .* pip install 'lapwing\[text\]'\.$"):
        optional("no_such.module", "text")


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        ("UserError('The file a is empty.')", "lapwing: The file a is empty. (the whole story: {log})\n"),
        ("KeyError('a')", "lapwing: KeyError: 'a' (the whole story: {log})\n"),
    ],
)
def test_failure_is_one_line_on_the_screen_and_the_whole_story_in_the_log(
    tmp_path: Path, raised: str, shown: str
) -> None:
    log = tmp_path / "job.log"
    code = (
        "from lapwing.errors import UserError, logged\n"
        f"with logged({str(log)!r}):\n    print('working'); raise {raised}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == shown.format(log=log)
    assert run.stdout == ""
    assert "working" in log.read_text()
    assert "Traceback" in log.read_text()


def test_registry_lists_without_importing_and_names_the_nearest() -> None:
    registry = Registry("lapwing.corruption", "corruption", "CORRUPTION", frozenset({"base"}))
    assert "original" in registry.names()
    with pytest.raises(UserError, match=r"unknown corruption orginal; did you mean original\?"):
        registry.get("orginal")
