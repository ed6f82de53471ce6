from pathlib import Path

from lapwing.job_log import logged
from lapwing.results.excerpt import excerpt

with logged(snakemake.log[0]):
    excerpt(
        snakemake.wildcards.artefact,
        snakemake.params.cells,
        **{name: [Path(path) for path in paths] for name, paths in snakemake.input.items()},
        asked=snakemake.params.asked,
        out=Path(snakemake.output[0]),
    )
