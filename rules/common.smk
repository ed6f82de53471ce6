"""What the rules share: the plan, the paths of its files, and the check of targets."""

import contextlib
import io
import os
import re
import sys
from math import prod
from pathlib import Path

from snakemake.cli import parse_args
from snakemake.settings.types import DeploymentMethod

from lapwing.code import PLANNED_BY, say_who_plans
from lapwing.datasets import datasets
from lapwing.errors import UserError, as_one_sentence, did_you_mean
from lapwing.files import content_key
from lapwing.plan import Plan
from lapwing.results import RESULTS_VERSION
from lapwing.study import notebook_of
from lapwing.training.origin import lock_of_image

with as_one_sentence():
    plan = Plan(config, raw=Path("resources/raw"), published=Path("published"))

# Scripts see the checked settings, with every default filled in.
config.update(plan.settings.model_dump(mode="json"))

FORMS = {"table": ("tables", ("csv", "md", "tex")), "figure": ("figures", ("pdf", "png", "svg"))}


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


def artefacts_of_kind(kind):
    return any_of(name for name, artefact in plan.artefacts.items() if artefact.kind == kind)


wildcard_constraints:
    dataset=any_of(plan.datasets),
    corruption="[a-z][a-z0-9_]*",
    key=any_of(plan.corruptions),
    seed="[0-9]+",
    study=any_of(plan.studies),
    part="[A-Za-z0-9_.+-]+",
    artefact=any_of(plan.artefacts),


# -- containers ------------------------------------------------------------------------------------

in_containers = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def bind_folders():
    """Show containers the folders that settings name; by themselves they see little more than this one."""
    named = [*plan.settings.data.mirror, plan.settings.finished_runs, Path("outputs"), Path("resources")]
    named += [Path(os.environ[name]) for name in ("SNAKEMAKE_OUTPUT_CACHE", "TMPDIR") if os.environ.get(name)]
    with contextlib.suppress(OSError):  # of which the job speaks
        plan.settings.finished_runs.mkdir(parents=True, exist_ok=True)  # what is not there cannot be shown
    places = {place for folder in named if folder.exists() for place in (folder.absolute(), folder.resolve())}
    outside = sorted(str(place) for place in places if not place.is_relative_to(Path.cwd()))
    for place in outside:
        if set(place) & set(",:"):
            raise UserError(f"{place} cannot be shown to containers: its name holds a comma or a colon.")
    given = os.environ.get("APPTAINER_BIND") or os.environ.get("SINGULARITY_BIND") or ""
    # What a Snakemake elsewhere added, which started this job: its folders need not be here.
    shown = os.environ.get("LAPWING_SHOWN", "").split(",")
    words = [word for word in given.split(",") if word not in shown]
    binds = ",".join(dict.fromkeys([*filter(None, words), *outside]))
    os.environ |= {"APPTAINER_BIND": binds, "SINGULARITY_BIND": binds}  # the variables of the twins
    os.environ |= {"LAPWING_SHOWN": ",".join(place for place in outside if place not in words)}


if in_containers:
    with as_one_sentence():
        bind_folders()


# -- what jobs ask of a cluster --------------------------------------------------------------------


def megabytes(amount):
    """`amount`, a number or a function of the wildcards; a second attempt asks for twice, later ones thrice that."""

    def asked(wildcards, attempt):
        return min(attempt, 3) * (amount(wildcards) if callable(amount) else amount)

    return asked


def minutes(amount):
    """The same for time, which grows on with every attempt, up to the most that a job asks for."""

    def asked(wildcards, attempt):
        wanted = attempt * (amount(wildcards) if callable(amount) else amount)
        return min(wanted, plan.settings.slurm.max_minutes)

    return asked


def asked_of_slurm(gpus=0):
    """The site's keys in the words of the executor plugin; what is not set is not asked for."""
    site = plan.settings.slurm
    asked = {
        "in_turn": 1,  # what a profile has few of: jobs of a group run one after another
        "nodes": gpus and 1,  # the processes of a run find each other on one node
        "slurm_account": site.account,
        "slurm_partition": gpus and site.gpu_partition or site.partition,
        "qos": gpus and site.gpu_qos or site.qos,
        "constraint": gpus and site.gpu_constraint or site.constraint,
        "slurm_extra": " ".join(site.extra),
    }
    if gpus and site.gpu_by == "gres":
        asked["gres"] = ":".join(["gpu", *filter(None, [site.gpu_model]), str(gpus)])
    elif gpus:
        asked |= {"gpu": gpus, "gpu_model": site.gpu_model}
    return {name: value for name, value in asked.items() if value}


on_cpus = asked_of_slurm()
on_gpus = asked_of_slurm(plan.settings.gpu)


# -- datasets and corruptions ----------------------------------------------------------------------


def datasets_of(inputs):
    """The datasets whose inputs are numbers, or tokens: texts have a stage of their own, with torchtext."""
    return {name for name in plan.datasets if datasets.get(name).inputs == inputs}


def files_of_dataset(wildcards):
    """What decides the raw files: their names and digests, not where they come from; a part is another thing."""
    files = [
        [file.name, file.size, file.sha256 or file.md5] for file in datasets.get(wildcards.dataset).files
    ]
    return [*files, "part"] if plan.part else files


def raw_of_dataset(wildcards):
    """Its own raw folder first, then those of the datasets that it uses."""
    names = [wildcards.dataset, *datasets.get(wildcards.dataset).uses]
    return [f"<raw>/{name}" for name in names]


def version_of_dataset(wildcards):
    """Its own version, with those of the datasets that it reads too."""
    dataset = datasets.get(wildcards.dataset)
    further = [datasets.get(name).version for name in dataset.uses] + ["part"] * plan.part
    return [dataset.version, *further] if further else dataset.version


def memory_of_dataset(wildcards):
    """Megabytes to prepare it: what is large is streamed, two batches of ImageNet64 (3.1 GB) at most."""
    dataset = datasets.get(wildcards.dataset)
    values = sum(dataset.rows.values()) * prod(dataset.input_shape)
    return 3000 + min(4 * values // 10**6, 3000)


def settings_of_corruption(wildcards):
    return plan.corruptions[wildcards.key].model_dump(mode="json")


# -- training --------------------------------------------------------------------------------------


def cells_of_part(wildcards):
    return plan.parts[wildcards.study][wildcards.part]


def jobs_of_part(wildcards):
    return [cell.job() for cell in cells_of_part(wildcards)]


def data_of_part(wildcards):
    return data_of_cells(cells_of_part(wildcards))


def data_of_cells(cells):
    names = {cell.settings.corruption.dataset for cell in cells}
    return [f"<results>/data/{name}.safetensors" for name in sorted(names)]


def corrupted_of_part(wildcards):
    return corrupted_of_cells(cells_of_part(wildcards))


def corrupted_of_cells(cells):
    """The corruption artefacts of the cells' runs; the methods of a seed share one."""
    return sorted({file for cell in cells for file in corrupted_of_cell(cell)})


def corrupted_of_cell(cell):
    corruption = cell.settings.corruption
    folder = f"<results>/corrupted/{corruption.dataset}/{corruption.name}-{corruption.key}"
    return [f"{folder}/seed={seed}.safetensors" for seed in cell.seeds]


def origin_of_training():
    """What runs must be made with to count (`cache` in config.yaml), in a container what it was built from."""
    asked = plan.origin
    if "lock" in asked and in_containers:
        asked["lock"] = lock_of_image(Path("containers/train.sif"))
    return asked


processes_of_run = max(1, plan.settings.gpu)  # each GPU has a process of its own


def minutes_of_part(wildcards):
    """What a cluster grants a part: ten minutes and three times the estimate."""
    return 10 + int(3 * plan.minutes_of(wildcards.study, wildcards.part))


# -- results of a study ----------------------------------------------------------------------------


def of_every_part(study, file):
    return [f"<results>/runs/{study}/{part}/{file}" for part in plan.parts[study]]


def metrics_of_study(wildcards):
    return of_every_part(wildcards.study, "metrics.parquet")


def sources_of_study(wildcards):
    return of_every_part(wildcards.study, "sources.parquet")


def runs_of_study(wildcards):
    return of_every_part(wildcards.study, "runs.json")


def study_shown(wildcards):
    return shown_of_study(wildcards.study)


def shown_of_study(name):
    cells = plan.selected[name]
    settings = [content_key(cell.settings.model_dump(mode="json")) for cell in cells]
    return {"name": name, "cells": [cell.shown() for cell in cells], "settings": settings}


def asked_of(artefacts):
    """What their tables of results must be made of."""
    names = sorted({name for artefact in artefacts for name in plan.studies_with_runs(artefact)})
    return {name: content_key(shown_of_study(name)) for name in names}


# -- artefacts -------------------------------------------------------------------------------------


def of_every_study(artefact, ending):
    return [f"<results>/results/{name}{ending}" for name in plan.studies_with_runs(artefact)]


def results_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, ".parquet")


def sources_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, "_sources.parquet")


def runs_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, "_runs.parquet")


def cells_of_records(artefact):
    """The selected cells of which it draws single samples; other artefacts need only results."""
    described = plan.artefacts[artefact]
    if described.kind != "figure" or described.draws != "records":
        return []
    cells = [cell for study in plan.studies_of(artefact) for cell in plan.selected[study]]
    return [cell for cell in cells if described.has(cell.axes)]


def data_of_artefact(wildcards):
    return data_of_cells(cells_of_records(wildcards.artefact))


def corrupted_of_artefact(wildcards):
    return corrupted_of_cells(cells_of_records(wildcards.artefact))


def notebook_of_artefact(wildcards):
    return str(notebook_of(wildcards.artefact))


def published_of_artefact(wildcards):
    """The published values beside it: means, those of the runs and, for curves, those of every epoch."""
    artefact = plan.artefacts[wildcards.artefact]
    if not artefact.published:
        return []
    study = artefact.published.study
    names = ["summary.csv", f"{study}_runs.csv", *[f"{study}_curves.csv.gz"] * bool(artefact.curves)]
    return [str(path) for name in names if (path := Path("published", name)).is_file()]


def description_shown(wildcards):
    return plan.described(wildcards.artefact).model_dump(mode="json")


def asked_of_artefact(wildcards):
    return asked_of([wildcards.artefact])


def asked_of_all_artefacts(wildcards):
    return asked_of(plan.made)


def cells_shown(wildcards):
    return plan.cells_shown(wildcards.artefact)


def files_of_artefact(artefact):
    """What an artefact consists of; nothing if it is left out, which by name is an error."""
    if artefact in plan.left_out:
        return []
    folder, endings = FORMS[plan.artefacts[artefact].kind]
    files = [f"<results>/{folder}/{artefact}.{ending}" for ending in endings]
    return files + [f"<results>/notebooks/{artefact}.{ending}" for ending in ("ipynb", "html")]


def files_of_all_artefacts(wildcards):
    return [file for artefact in plan.made for file in files_of_artefact(artefact)]


def runs_of_all_studies(wildcards):
    return sorted({file for artefact in plan.made for file in of_every_study(artefact, "_runs.parquet")})


def artefacts_shown(wildcards):
    return [artefact_shown(name) for name in plan.made]


def artefact_shown(name):
    artefact = plan.described(name)
    folder, endings = FORMS[artefact.kind]
    results = f"outputs/{plan.settings.scale}"
    return {
        "name": name,
        "description": artefact.model_dump(mode="json"),
        artefact.kind: {ending: f"{results}/{folder}/{name}.{ending}" for ending in endings},
        "html": f"{results}/notebooks/{name}.html",
        "studies": plan.studies_with_runs(name),
    }


def left_out_shown(wildcards):
    return [{"name": name, "why": plan.left_out[name]} for name in plan.wanted if name in plan.left_out]


def settings_shown(wildcards):
    """What decides what the report shows; not where data lie on this machine."""
    return {"scale": plan.settings.scale, "only": plan.settings.only}


# -- what was asked for ----------------------------------------------------------------------------


def requested_targets():
    """The targets on the command line.

    While the Snakefile is read only Snakemake's own parser knows them; where Snakemake is
    used as a library there are none.
    """
    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return []
    with contextlib.redirect_stderr(io.StringIO()):  # it says a second time which profile it reads
        return list(parse_args(sys.argv[1:])[1].targets)


def check_artefacts(rules):
    """Refuse artefacts that are called as a rule."""
    with as_one_sentence():
        for name in sorted({"all", *rules} & plan.artefacts.keys()):
            raise UserError(f"artefacts: {name} is the name of a rule; call it otherwise.")


def check_targets():
    """Refuse a misspelt target, and one that cannot be made, in one sentence."""
    targets, known = requested_targets(), ["all", "report", *plan.artefacts]
    with as_one_sentence():
        for target in targets:
            if target in plan.left_out:
                raise UserError(f"{target} cannot be made: {plan.left_out[target]}")
            if target not in known and target in plan.only_elsewhere:
                scale = plan.settings.scale
                raise UserError(f"{target} takes no part at scale {scale}; use scale=demo or scale=paper.")
            if target not in known and not set(target) & set("./"):
                raise UserError(f"There is no target {target}; {did_you_mean(target, known)}")
    say_what_is_ahead(targets)


def say_what_is_ahead(targets):
    """Name what `all` leaves out; before more than an hour of training say how much it is."""
    everything = not targets or "all" in targets
    for artefact in plan.wanted if everything else ():
        if artefact in plan.left_out:
            print(f"lapwing: {artefact} is left out: {plan.left_out[artefact]}", file=sys.stderr)
    wanted = plan.made if everything else [target for target in targets if target in plan.artefacts]
    with as_one_sentence():
        plan.check_gpus(wanted)
    remaining = plan.remaining(wanted, Path("outputs", plan.settings.scale, "data"))
    if remaining.hours > 1:
        print(f"lapwing: {remaining}", file=sys.stderr)
