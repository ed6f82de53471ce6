from pathlib import Path

from lapwing.corruption.base import write_corruption
from lapwing.job_log import logged

with logged(snakemake.log[0]):
    write_corruption(
        Path(snakemake.input[0]),
        snakemake.params.settings,
        seed=int(snakemake.params.seed),
        out=Path(snakemake.output[0]),
    )
