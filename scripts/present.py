from pathlib import Path

from lapwing.job_log import logged
from lapwing.results.collect import check_results
from lapwing.results.excerpt import check_excerpt
from lapwing.results.present import present

with logged(snakemake.log[0]):
    paths = dict(snakemake.output.items())
    pages = {kind: Path(paths.pop(kind)) for kind in ("notebook", "html")}
    artefact = {
        "artefact": snakemake.wildcards.artefact,
        "description": snakemake.params.description,
        "cells": snakemake.params.cells,
        "scale": snakemake.params.scale,
        "published": "published",
        "results": list(snakemake.input.results),
        "sources": list(snakemake.input.sources),
        "runs": list(snakemake.input.runs),
        "excerpt": next(iter(snakemake.input.excerpt), None),
        "table" if "csv" in paths else "figure": paths,
    }
    tables = {kind: [Path(path) for path in snakemake.input[kind]] for kind in ("results", "sources", "runs")}
    check_results(tables, snakemake.params.asked)
    for path in snakemake.input.excerpt:
        check_excerpt(
            Path(path), snakemake.wildcards.artefact, snakemake.params.cells, snakemake.params.asked
        )
    present(Path(snakemake.input.notebook), artefact, pages)
