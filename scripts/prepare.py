from pathlib import Path

from lapwing.datasets.prepare import prepare
from lapwing.job_log import logged

with logged(snakemake.log[0]):
    part = snakemake.config["scale"] == "subset"
    prepare(snakemake.params.dataset, Path(snakemake.input[0]), Path(snakemake.output[0]), part=part)
