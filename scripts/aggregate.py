from pathlib import Path

from lapwing.job_log import logged
from lapwing.results.collect import aggregate

with logged(snakemake.log[0]):
    aggregate(
        **{name: [Path(path) for path in paths] for name, paths in snakemake.input.items()},
        study=snakemake.params.study,
        out={name: Path(path) for name, path in snakemake.output.items()},
    )
