"""What the parts of a study are trained with, and what its results are collected from."""

from pathlib import Path

from lapwing.files import content_key
from lapwing.training.origin import lock_of_image


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


def of_every_part(study, file):
    return [f"<results>/runs/{study}/{part}/{file}" for part in plan.parts[study]]


def metrics_of_study(wildcards):
    return of_every_part(wildcards.study, "metrics.parquet")


def sources_of_study(wildcards):
    return of_every_part(wildcards.study, "sources.parquet")


def runs_of_study(wildcards):
    return of_every_part(wildcards.study, "runs.json")


def study_shown(name):
    cells = plan.selected[name]
    settings = [content_key(cell.settings.model_dump(mode="json")) for cell in cells]
    return {"name": name, "cells": [cell.shown() for cell in cells], "settings": settings}
