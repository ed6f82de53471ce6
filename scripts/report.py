from pathlib import Path

from lapwing.job_log import logged
from lapwing.results.report import report

with logged(snakemake.log[0]):
    report(
        artefacts=snakemake.params.artefacts,
        runs=[Path(path) for path in snakemake.input.runs],
        scale=snakemake.params.scale,
        settings=snakemake.params.settings,
        left_out=snakemake.params.left_out,
        out=Path(snakemake.output[0]),
    )
