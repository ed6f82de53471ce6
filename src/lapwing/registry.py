"""One file, one entry: what a package of datasets, corruptions, models or methods holds.

A module `lapwing/<package>/<key>.py` is the entry `<key>`; modules whose names begin with
an underscore, and those named in `support`, are not entries. Names are listed without importing anything.
"""

import functools
import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

from lapwing.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Registry:
    """The entries of one package, imported when they are asked for."""

    package: str
    """For instance `lapwing.datasets`."""
    noun: str
    """What an entry is called in a sentence: dataset."""
    attribute: str
    """The name under which each module keeps its entry: DATASET."""
    support: frozenset[str] = frozenset({"base"})

    def names(self) -> list[str]:
        """All keys, sorted."""
        modules = _modules(tuple(importlib.import_module(self.package).__path__))
        return [name for name in modules if name not in self.support and name[0] != "_"]

    def get(self, key: str) -> Any:
        """The entry `key`.

        Raises:
            UserError: there is none; names the nearest.
        """
        if key not in self.names():
            raise UserError(f"unknown {self.noun} {key}; {did_you_mean(key, self.names())}")
        return getattr(importlib.import_module(f"{self.package}.{key}"), self.attribute)


@functools.cache
def _modules(path: tuple[str, ...]) -> tuple[str, ...]:
    """The modules of a package, sorted; asked for thousands of times while the studies are read."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))
