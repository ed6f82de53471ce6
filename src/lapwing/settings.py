"""The keys of `config.yaml`."""

from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from lapwing.datasets import datasets
from lapwing.errors import did_you_mean
from lapwing.schema import Closed
from lapwing.study_files import Scale


class Data(Closed):
    """Where raw data come from."""

    mirror: list[Path] = []
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
    finished_runs: Path = Path("outputs/finished")
    """Where finished runs and checkpoints are kept; may be shared by checkouts."""
    studies: Path = Path("studies")
    """The folder of the study files."""
    memory_mb: int = Field(4000, ge=500)
    """What one training job is granted by a cluster."""
    gpu: int = Field(0, ge=0)
    """GPUs of one training job, which a cluster grants it. 2 and more train every run together, each a share
    of every batch; some methods cannot. With 0 a job uses one that is there, else the CPU."""

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
