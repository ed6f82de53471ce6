from pathlib import Path

from lapwing.datasets.download import download
from lapwing.job_log import logged

with logged(snakemake.log[0]):
    data = snakemake.config["data"]
    download(
        snakemake.params.dataset,
        Path(snakemake.output[0]),
        mirrors=[Path(folder) for folder in data["mirror"]],
        offline=data["offline"],
        accepted=data["accept"],
        part=snakemake.config["scale"] == "subset",
    )
