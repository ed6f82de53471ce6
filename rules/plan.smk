"""What is to be made, where it lies, and what wildcards may stand for."""

import os
import re
from pathlib import Path

from lapwing.code import PLANNED_BY, say_who_plans
from lapwing.errors import as_one_sentence
from lapwing.plan import Plan

with as_one_sentence():
    plan = Plan(config, raw=Path("resources/raw"), published=Path("published"))

# Scripts see the checked settings, with every default filled in.
config.update(plan.settings.model_dump(mode="json"))


pathvars:
    raw=str(plan.raw),
    results=f"outputs/{plan.settings.scale}",
    logs=f"outputs/{plan.settings.scale}/logs",
    run=f"outputs/{plan.settings.scale}/runs/{{study}}/{{part}}",


say_who_plans(os.environ)


envvars:
    PLANNED_BY,


def any_of(words):
    """A pattern for a wildcard: one of these words, or nothing at all if there are none."""
    return "|".join(map(re.escape, sorted(words))) or "(?!)"


wildcard_constraints:
    dataset=any_of(plan.datasets),
    corruption="[a-z][a-z0-9_]*",
    key=any_of(plan.corruptions),
    seed="[0-9]+",
    study=any_of(plan.studies),
    part="[A-Za-z0-9_.+-]+",
    artefact=any_of(plan.artefacts),
