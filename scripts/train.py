from pathlib import Path

from lapwing.job_log import logged
from lapwing.training.job import train_part

if __name__ == "__main__":  # the processes of several GPUs import this file too
    with logged(snakemake.log[0]):
        train_part(
            snakemake.params.cells,
            data=[Path(path) for path in snakemake.input.data],
            corrupted=[Path(path) for path in snakemake.input.corrupted],
            finished=Path(snakemake.config["finished_runs"]),
            out={name: Path(path) for name, path in snakemake.output.items()},
            device=snakemake.config["device"],
            processes=max(1, snakemake.config["gpu"]),
            deterministic=snakemake.config["deterministic"],
            cache=snakemake.config["cache"],
        )
