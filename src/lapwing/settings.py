"""The keys of `config.yaml`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from lapwing.datasets import datasets
from lapwing.errors import did_you_mean
from lapwing.schema import Closed
from lapwing.study_files import Scale
from lapwing.training.origin import Cache
from lapwing.training.settings import Device


def _without_shell(folder: Path) -> Path:
    """What a shell would have made of it, for files and quoted words are read by none."""
    if re.search(r"\$[\w{]", str(folder)):
        raise ValueError("must be the folder itself: variables are not replaced")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ValueError("must be the folder itself: of this user no home is known") from None


Folder = Annotated[Path, pydantic.AfterValidator(_without_shell)]


class Data(Closed):
    """Where raw data come from."""

    mirror: list[Folder] = []
    """Local folders that are looked into before the network: `<folder>/<data set's mirror folder>/<file>`."""
    offline: bool = False
    """Never use the network; say which files are missing."""
    accept: list[str] = []
    """Data sets whose terms you have read and accept."""

    @pydantic.field_validator("mirror", "accept", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    @pydantic.field_validator("mirror")
    @classmethod
    def _mirrors_are_folders(cls, mirrors: list[Path]) -> list[Path]:
        for mirror in mirrors:
            if not mirror.is_dir():
                raise ValueError(f"There is no folder {mirror}")
        return mirrors

    @pydantic.field_validator("accept")
    @classmethod
    def _accepted_are_datasets(cls, accepted: list[str]) -> list[str]:
        for name in accepted:
            if name not in datasets.names():
                raise ValueError(f"unknown dataset {name}; {did_you_mean(name, datasets.names())}")
        return accepted


def _only(pattern: str, what: str) -> pydantic.AfterValidator:
    """For a text that becomes a word of a command line: nothing else may be in it."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"must be {what}")
        return value

    return pydantic.AfterValidator(check)


GIVEN = (
    "account|clusters|comment|constraint|cpus-per-gpu|cpus-per-task|error|export|gpus|gres|job-name"
    "|mem|mem-per-cpu|nodes|ntasks|ntasks-per-gpu|output|parsable|partition|qos|time|workdir"
)
"""The options of sbatch that no user gives, because each job has its own."""
BREAKING = "array|chdir|help|test-only|usage|version|wait|wrap"
"""Those with which a job is sent otherwise than Snakemake expects, or not at all."""

SlurmName = Annotated[
    str, _only(r"[a-zA-Z0-9][\w.,@+-]*", "a name of Slurm, of letters, digits and _ . , @ + -")
]
GpuModel = Annotated[
    str, _only(r"[\w.]+", "a type of GPU, of letters, digits and _ . (of any other ask by gpu_constraint)")
]
Features = Annotated[str, _only(r"[\w(\[][\w.,:+&|*()\[\]-]*", "features of nodes, joined by & or |")]
Option = Annotated[
    str,
    _only(r"--[a-z][a-z-]*(=[\w.,:@/%+=\[\]-]+)?", "an option of sbatch like --mail-type=FAIL"),
    _only(rf"--(?!({GIVEN})(=|$)).*", "another option: every job has this one of its own"),
    _only(rf"--(?!({BREAKING})(=|$)).*", "another option: Snakemake could not follow jobs with this one"),
]


class Slurm(Closed):
    """What jobs ask of a Slurm cluster, with `profiles/slurm`; what is not given is left to the cluster."""

    account: SlurmName | None = None
    """Who pays. A cluster that keeps no accounts refuses every one."""
    partition: SlurmName | None = None
    """Of every job, or of several partitions the first that is free: `short,long`."""
    qos: SlurmName | None = None
    """Quality of service."""
    constraint: Features | None = None
    """Features that a node must have: `avx512`, `icelake|cascadelake`."""
    gpu_account: SlurmName | None = None
    """For jobs that are granted a GPU, in place of `account`."""
    gpu_partition: SlurmName | None = None
    """In place of `partition`."""
    gpu_qos: SlurmName | None = None
    """In place of `qos`."""
    gpu_constraint: Features | None = None
    """In place of `constraint`."""
    gpu_model: GpuModel | None = None
    """The type of GPU, by the cluster's name for it: `a100`."""
    gpu_by: Literal["gpus", "gres"] = "gpus"
    """The option that asks for GPUs: `--gpus=1`, or `--gres=gpu:1` where the cluster wants that."""
    max_minutes: int = Field(1440, ge=10)
    """The longest that a job asks for. Training that needs longer goes on after its last whole epoch when it
    is tried again."""
    max_memory_mb: int | None = Field(None, ge=500)
    """The most memory that a job asks for: that of the largest node. Without it a second attempt asks for
    twice as much, a third for three times, which no node may have."""
    extra: list[Option] = []
    """Further options of sbatch, such as `--mail-type=FAIL`; not those that the keys above stand for."""
    network: bool = True
    """Whether the cluster's nodes reach the network; if not, downloads run where `snakemake` was called."""


class Settings(Closed):
    """`config.yaml`, as it is after `--config`."""

    scale: Scale = "demo"
    """demo: minutes on a laptop, embedded data; subset: the part of large real data that a mirror holds, with
    smaller networks; paper: as published."""
    only: list[dict[str, Any]] = []
    """Selections, of which a run must meet one: axis, or `seed`, → a value or a list. Empty: all runs."""
    demo: list[str] = []
    """The artefacts that `all` makes at demo scale; empty: every one. Each can be asked for by name."""
    data: Data = Data()
    finished_runs: Folder = Path("outputs/finished")
    """Where finished runs and checkpoints are kept; may be shared by checkouts."""
    cache: Cache = Cache()
    """Which of them count, of those that were made elsewhere. One that does not count is trained again, and
    kept beside the other."""
    studies: Folder = Path("studies")
    """The folder of the study files."""
    memory_mb: int = Field(4000, ge=500)
    """What one training job is granted by a cluster."""
    gpu: int = Field(0, ge=0)
    """GPUs of one training job, which a cluster grants it. 2 and more train every run together, each a share
    of every batch; some methods cannot. With 0 a job is granted none; see `device`."""
    device: Device = Field("auto", validate_default=True)
    """What training jobs compute on. auto: a GPU where a job sees one, else the CPU; where `gpu` grants one,
    it must be there. cuda: a GPU, or the job fails at once. cpu: never a GPU."""
    deterministic: bool = False
    """Only operations that give the same bits every time on the same device. A CPU's do so anyway; a GPU's
    are slower then, and some methods cannot. Runs that were finished without it count."""
    slurm: Slurm = Slurm()

    @pydantic.field_validator("device")
    @classmethod
    def _a_granted_gpu_is_used(cls, device: Device, info: pydantic.ValidationInfo) -> Device:
        gpus = info.data.get("gpu", 0)
        if gpus and device == "cpu":
            raise ValueError(f"gpu grants every training job {gpus}; set gpu to 0, or device to auto")
        return "cuda" if gpus else device

    @pydantic.field_validator("slurm")
    @classmethod
    def _training_is_granted_its_memory(cls, slurm: Slurm, info: pydantic.ValidationInfo) -> Slurm:
        wanted = info.data.get("memory_mb", 0) * max(1, info.data.get("gpu", 0))
        if slurm.max_memory_mb and wanted > slurm.max_memory_mb:
            raise ValueError(
                f"max_memory_mb is {slurm.max_memory_mb}, and memory_mb grants a training job {wanted}; "
                "lower memory_mb, or raise max_memory_mb"
            )
        return slurm

    @pydantic.field_validator("finished_runs")
    @classmethod
    def _not_a_file(cls, folder: Path) -> Path:
        for path in (folder, *folder.parents):
            if path.exists() and not path.is_dir():
                raise ValueError(f"{path} is no folder")
        return folder

    @pydantic.field_validator("only", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if value and isinstance(value, dict) else value or []
