from pathlib import Path

from lapwing.job_log import logged
from lapwing.results.collect import check_results
from lapwing.results.report import report

with logged(snakemake.log[0]):
    runs = [Path(path) for path in snakemake.input.runs]
    check_results({"runs": runs}, snakemake.params.asked)
    report(
        artefacts=snakemake.params.artefacts,
        runs=runs,
        scale=snakemake.params.scale,
        settings=snakemake.params.settings,
        left_out=snakemake.params.left_out,
        out=Path(snakemake.output[0]),
    )
