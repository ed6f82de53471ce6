"""How files become studies: reading, bases and scales.

A study file is YAML: the keys of a `Study`, `base`, another study to start from, and `scales`, what differs
at a scale. Every study is built at every scale whenever it is read, so that a mistake at `paper` shows while
one works at `demo`. Bases come before what is built on them: a mistake is told of the file that has it.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from lapwing.conditions import Overrides, refuse_unknown
from lapwing.errors import UserError
from lapwing.schema import validate
from lapwing.study import Grid, Special, Study, merged, met

Scale = Literal["demo", "subset", "paper"]
SCALES: tuple[Scale, ...] = ("demo", "subset", "paper")
OPTIONAL: tuple[Scale, ...] = ("subset",)
"""Scales at which a study takes part only where its file, or one that it is built on, speaks of them; of its
special cases only those hold that stand there."""


def read_studies(folder: Path, scale: Scale) -> dict[str, Study]:
    """Every study of a folder at one scale, checked at every scale.

    Raises:
        UserError: one sentence about the first mistake: file, key, what would be right.
    """
    if not folder.is_dir():
        raise UserError(f"studies: There is no folder {folder}.")
    files = {path.stem: _File(path, _read_yaml(path)) for path in sorted(folder.glob("*.yaml"))}
    built = {name: _at_every_scale(_chain(files[name], files)) for name in _bases_first(files)}
    for each in SCALES:
        _check_together({name: built[name][each] for name in files if each in built[name]})
    return {name: built[name][scale] for name in files if scale in built[name]}


# -- one file --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """One study file as it is written."""

    path: Path
    content: Overrides

    @property
    def base(self) -> str | None:
        """The name of the study that this one starts from."""
        base = self.content.get("base")
        return None if base is None else str(base)

    @property
    def general(self) -> Overrides:
        """What it says at every scale."""
        return {key: value for key, value in self.content.items() if key not in ("base", "scales")}

    def only_at(self, scale: Scale) -> Overrides:
        """What it says at one scale alone."""
        over: Overrides = self.content.get("scales", {}).get(scale, {})
        return over

    def special(self, scale: Scale) -> Any:
        """Its special cases: those of the scale, else the general ones, but not at an optional scale."""
        general = [] if scale in OPTIONAL else self.content.get("special", [])
        return self.only_at(scale).get("special", general)

    def check(self) -> None:
        """Refuse what no model of a study sees."""
        scales = self.content.get("scales", {})
        if not isinstance(scales, dict) or not all(isinstance(over, dict) for over in scales.values()):
            raise UserError(
                f"{self.path}: scales: each scale has keys with values, as the study has (it is {scales})."
            )
        refuse_unknown(scales, SCALES, f"{self.path}: scales: unknown scale")
        if any("name" in part for part in (self.content, *scales.values())):
            raise UserError(f"{self.path}: unknown key name; a study is called as its file.")


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is a mistake; plain YAML keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if keys.count(key.value) > 1:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value} is given twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Overrides:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise UserError(f"{path}: not YAML{f', line {mark.line + 1}' if mark else ''}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{path}: it cannot be read: {why}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a study is keys with values (it is {type(content).__name__}).")
    return content


# -- a file over its bases -------------------------------------------------------------------------


def _bases_first(files: Mapping[str, _File]) -> list[str]:
    """The names of all studies, each after those that it is built on."""
    return list(dict.fromkeys(link.path.stem for file in files.values() for link in _chain(file, files)))


def _chain(file: _File, files: Mapping[str, _File]) -> list[_File]:
    """A study file after all those that it is built on, the last base first."""
    chain = [file]
    while (base := chain[0].base) is not None:
        refuse_unknown([base], files, f"{chain[0].path}: base: unknown study")
        if files[base] in chain:
            raise UserError(
                f"{chain[0].path}: base: {base} is built on this study; a chain of bases must end."
            )
        chain.insert(0, files[base])
    return chain


def _at_every_scale(chain: Sequence[_File]) -> dict[Scale, Study]:
    """The study of the last file, over those before it, which are known to be right."""
    file = chain[-1]
    file.check()
    studies: dict[Scale, Study] = {}
    for scale in SCALES:
        if scale in OPTIONAL and not any(link.only_at(scale) for link in chain):
            continue
        where = f"{file.path} ({scale})"
        values = {"name": file.path.stem, **_content(chain, scale), "special": file.special(scale)}
        own = validate(Study, values, where)
        special = [*_inherited(chain, scale, own.grid), *own.special]
        studies[scale] = own.model_copy(update={"special": special})
        try:
            studies[scale].check()
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return studies


def _content(chain: Sequence[_File], scale: Scale) -> Overrides:
    """What all files say, then what they say at the scale; artefacts belong to the last file alone."""
    *bases, file = chain
    apart = {"artefacts", "special"}
    general = [*(_without(base.general, apart) for base in bases), file.general]
    at_scale = [*(_without(base.only_at(scale), apart) for base in bases), file.only_at(scale)]
    return _merged_all([*general, *at_scale])


def _merged_all(layers: Iterable[Overrides]) -> Overrides:
    start: Overrides = {}
    return functools.reduce(merged, layers, start)


def _without(content: Overrides, keys: Iterable[str]) -> Overrides:
    return {key: value for key, value in content.items() if key not in keys}


def _inherited(chain: Sequence[_File], scale: Scale, grids: Sequence[Grid]) -> Iterator[Special]:
    """What comes before a study's own special cases: those of its bases, and what stands over these.

    Cases that match no cell of the study fall away.
    """
    everywhere = list(dict.fromkeys(name for grid in grids for name in grid.get("dataset", [])))
    for place, file in enumerate(chain):
        if place > 0 and (conditions := _over_special_cases(file, chain[:place], scale)):
            yield Special(where={"dataset": everywhere}, set=conditions)
        for case in file.special(scale) if file is not chain[-1] else ():
            special = Special.model_validate(case)
            if where := met(special.where, grids):
                yield Special(where=where, set=special.set)


def _over_special_cases(file: _File, bases: Sequence[_File], scale: Scale) -> Overrides:
    """The conditions of a file that hold where its bases have special cases too.

    What a base says at the scale stands over what the file says in general.
    """
    stronger = _merged_all(_conditions(base.only_at(scale)) for base in bases)
    return merged(_left(_conditions(file.general), stronger), _conditions(file.only_at(scale)))


def _conditions(content: Overrides) -> Overrides:
    conditions = content.get("conditions")
    return conditions if isinstance(conditions, dict) else {}


def _left(values: Overrides, over: Overrides) -> Overrides:
    """The values that stay where `over` is merged into them."""
    left: Overrides = {}
    for key, value in values.items():
        if key not in over:
            left[key] = value
        elif isinstance(value, dict) and isinstance(over[key], dict):
            left[key] = _left(value, over[key])
    return left


# -- all files together ----------------------------------------------------------------------------


def _check_together(studies: Mapping[str, Study]) -> None:
    """What no study can see alone: an artefact has one owner, and further studies exist."""
    owner: dict[str, str] = {}
    for name, study in studies.items():
        for artefact, description in study.artefacts.items():
            if artefact in owner:
                raise UserError(f"{name}: artefact {artefact} is already made by {owner[artefact]}.")
            owner[artefact] = name
            refuse_unknown(
                description.studies, studies, f"{name}: artefacts.{artefact}.studies: unknown study"
            )
