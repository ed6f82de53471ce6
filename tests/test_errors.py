"""Sentences for a user's mistakes."""

import json

import pytest

from lapwing.errors import UserError, as_one_sentence, did_you_mean, optional
from lapwing.registry import Registry


def test_near_word_is_proposed_and_otherwise_all_are_named() -> None:
    assert did_you_mean("lapp", ["standard", "lap"]) == "did you mean lap?"
    assert did_you_mean("xyz", ["standard", "lap"]) == "known: lap, standard."
    assert did_you_mean("xyz", []) == "known: none."


def test_space_that_yaml_wants_is_told() -> None:
    assert did_you_mean("mirror:/a", ["mirror"]) == "in YAML a space follows the colon: mirror: /a"


def test_module_of_an_extra_that_is_not_installed_is_told_with_the_extra() -> None:
    assert optional("json", "text") is json
    with pytest.raises(UserError, match=r"no_such is not installed; .* pip install 'lapwing\[text\]'\.$"):
        optional("no_such.module", "text")


def test_registry_lists_without_importing_and_names_the_nearest() -> None:
    registry = Registry("lapwing.corruption", "corruption", "CORRUPTION", frozenset({"base"}))
    assert "original" in registry.names()
    with pytest.raises(UserError, match=r"unknown corruption orginal; did you mean original\?"):
        registry.get("orginal")


def test_a_sentence_is_one_line_whatever_names_hold() -> None:
    assert str(UserError("no study a\nb\x1b[2J größe 'x'")) == "no study a\\nb\\x1b[2J größe 'x'"
    with pytest.raises(SystemExit, match=r"^lapwing: no study a\\nb$"), as_one_sentence():
        raise UserError("no study a\nb")
