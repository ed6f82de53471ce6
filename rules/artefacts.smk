"""What artefacts are made of and consist of, and what they and the report show."""

from pathlib import Path

from lapwing.files import content_key
from lapwing.study import notebook_of

FORMS = {"table": ("tables", ("csv", "md", "tex")), "figure": ("figures", ("pdf", "png", "svg"))}


def of_every_study(artefact, ending):
    return [f"<results>/results/{name}{ending}" for name in plan.studies_with_runs(artefact)]


def results_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, ".parquet")


def sources_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, "_sources.parquet")


def runs_of_artefact(wildcards):
    return of_every_study(wildcards.artefact, "_runs.parquet")


def artefacts_of_kind(kind):
    return any_of(name for name, artefact in plan.artefacts.items() if artefact.kind == kind)


def artefacts_with_records():
    return any_of(name for name, artefact in plan.artefacts.items() if artefact.shows_records)


def excerpt_of_artefact(wildcards):
    """The records that it shows; other artefacts need only results."""
    name = wildcards.artefact
    return [f"<results>/excerpts/{name}.safetensors"] if plan.artefacts[name].shows_records else []


def cells_of_artefact(wildcards):
    """The selected cells that it shows."""
    name = wildcards.artefact
    cells = [cell for study in plan.studies_of(name) for cell in plan.selected[study]]
    return [cell for cell in cells if plan.artefacts[name].has(cell.axes)]


def data_of_artefact(wildcards):
    return data_of_cells(cells_of_artefact(wildcards))


def corrupted_of_artefact(wildcards):
    return corrupted_of_cells(cells_of_artefact(wildcards))


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


def asked_of(artefacts):
    """What their tables of results must be made of."""
    names = sorted({name for artefact in artefacts for name in plan.studies_with_runs(artefact)})
    return {name: content_key(study_shown(name)) for name in names}


def asked_of_artefact(wildcards):
    return asked_of([wildcards.artefact])


def asked_of_all_artefacts(wildcards):
    return asked_of(plan.made)


def cells_shown(wildcards):
    return plan.cells_shown(wildcards.artefact)


def files_of(artefact):
    """What an artefact consists of; nothing if it is left out, which by name is an error."""
    if artefact in plan.left_out:
        return []
    folder, endings = FORMS[plan.artefacts[artefact].kind]
    files = [f"<results>/{folder}/{artefact}.{ending}" for ending in endings]
    return files + [f"<results>/notebooks/{artefact}.{ending}" for ending in ("ipynb", "html")]


def files_of_all_artefacts(wildcards):
    return [file for artefact in plan.made for file in files_of(artefact)]


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
