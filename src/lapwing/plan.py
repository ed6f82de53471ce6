"""What is to be made: the checked settings, the studies at their scale, and the cells that are selected."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lapwing.conditions import refuse_unknown
from lapwing.corruption.base import CorruptionSettings
from lapwing.datasets import datasets
from lapwing.datasets.base import RemoteFile
from lapwing.datasets.download import check_available
from lapwing.files import canonical
from lapwing.methods.base import check_processes
from lapwing.results.artefact import Artefact
from lapwing.schema import validate
from lapwing.settings import Settings
from lapwing.study import Cell, Study, parts, select
from lapwing.study_files import read_studies
from lapwing.training.finished import data_digest, recorded_seconds, run_key
from lapwing.training.origin import Counting, origin_here
from lapwing.words import duration, many


@dataclass(frozen=True)
class Remaining:
    """What is still to be done, as far as it can be known before anything runs."""

    runs: int
    parts: int
    hours: float
    """Of training on one core: by the recorded times of a cell's finished runs, else the study's estimate."""
    gigabytes: float
    """To be downloaded."""
    where: str = "one core"
    """On what the hours are."""

    def __str__(self) -> str:
        large = self.gigabytes >= 0.1
        size = f"{self.gigabytes:.1f} GB" if large else f"{max(1, round(1000 * self.gigabytes))} MB"
        download = f"; to be downloaded: {size}" if self.gigabytes else ""
        trained = f"{many(self.runs, 'run')} in {many(self.parts, 'training job')}"
        return f"to be trained: {trained}, about {duration(3600 * self.hours)} on {self.where}{download}."


class Plan:
    """Everything that the workflow wants to know about what it was asked for.

    Args:
        config: the content of `config.yaml`, with what the command line says.
        raw: the folder of downloaded files; those of parts of collections lie in `part` beside it.
        published: the folder of published values.

    Raises:
        UserError: one sentence about the first mistake in the settings or in any study.
    """

    def __init__(self, config: Mapping[str, Any], raw: Path, published: Path) -> None:
        self.settings = validate(Settings, config, "config")
        self.raw = raw.with_name("part") if self.part else raw
        self.studies: dict[str, Study] = read_studies(self.settings.studies, self.settings.scale)
        if self.settings.scale == "demo":
            problem = "config: demo ([] stands for every artefact): unknown artefact"
            refuse_unknown(self.settings.demo, self.artefacts, problem)
        self.selected: dict[str, list[Cell]] = select(self.studies, self.settings.only)
        self._check_published(published / "summary.csv")
        self.parts = {name: parts(study, self.selected[name]) for name, study in self.studies.items()}

    @property
    def part(self) -> bool:
        """Whether a part of a collection is enough."""
        return self.settings.scale == "subset"

    @cached_property
    def counting(self) -> Counting:
        """Which finished runs count on this machine; a cluster's may differ."""
        return Counting(origin_here(self.settings.device), self.settings.cache)

    @property
    def origin(self) -> dict[str, str | None]:
        """What runs must be trained with to count, as far as `config.yaml: cache` asks."""
        cache, here = self.settings.cache, self.counting.here
        asked = {"machine": not cache.other_machine, "lock": not cache.other_lock}
        return {name: getattr(here, name) for name, wanted in asked.items() if wanted}

    @cached_property
    def artefacts(self) -> dict[str, Artefact]:
        """Every artefact of every study."""
        return {
            name: artefact
            for study in self.studies.values()
            for name, artefact in sorted(study.artefacts.items())
        }

    @cached_property
    def only_elsewhere(self) -> set[str]:
        """The artefacts that there are at paper scale, and not at this one."""
        studies: dict[str, Study] = read_studies(self.settings.studies, "paper")
        return {name for study in studies.values() for name in study.artefacts} - self.artefacts.keys()

    @cached_property
    def left_out(self) -> dict[str, str]:
        """The artefacts that cannot be made now, and the one thing to do about each."""
        return {name: why for name in self.artefacts if (why := self._why_left_out(name))}

    @cached_property
    def wanted(self) -> list[str]:
        """The artefacts that `all` stands for."""
        first_look = self.settings.demo if self.settings.scale == "demo" else []
        return [name for name in self.artefacts if not first_look or name in first_look]

    @cached_property
    def made(self) -> list[str]:
        """Those of them that can be made."""
        return [name for name in self.wanted if name not in self.left_out]

    @cached_property
    def corruptions(self) -> dict[str, CorruptionSettings]:
        """What the selected cells ask of the corrupt stage, by key."""
        settings = (cell.settings.corruption for cells in self.selected.values() for cell in cells)
        return {corruption.key: corruption for corruption in settings}

    @cached_property
    def datasets(self) -> set[str]:
        """The datasets of the selected cells, and those that they use."""
        return {
            name
            for corruption in self.corruptions.values()
            for name in (corruption.dataset, *datasets.get(corruption.dataset).uses)
        }

    def studies_of(self, artefact: str) -> list[str]:
        """The studies that an artefact reads, its own first."""
        own = next(name for name, study in self.studies.items() if artefact in study.artefacts)
        return [own, *self.artefacts[artefact].studies]

    def studies_with_runs(self, artefact: str) -> list[str]:
        """Those of them that have a selected cell."""
        return [name for name in self.studies_of(artefact) if self.selected[name]]

    def described(self, artefact: str) -> Artefact:
        """What an artefact says of itself: of the datasets that stand in for others those of this scale."""
        whole = self.artefacts[artefact]
        cells = (cell for name in self.studies_of(artefact) for cell in self.studies[name].cells)
        here = {cell.settings.corruption.dataset for cell in cells if whole.has(cell.axes)}
        stand_in = {ours: theirs for ours, theirs in whole.stand_in.items() if ours in here}
        return whole.model_copy(update={"stand_in": stand_in})

    def cells_shown(self, artefact: str) -> list[dict[str, Any]]:
        """The cells of an artefact's studies that it shows; one that is not selected has no seeds."""
        shown, has = [], self.artefacts[artefact].has
        for name in self.studies_of(artefact):
            seeds = {str(cell.axes): cell.seeds for cell in self.selected[name]}
            shown += [
                {**cell.shown(), "seeds": seeds.get(str(cell.axes), [])}
                for cell in self.studies[name].cells
                if has(cell.axes)
            ]
        return shown

    def minutes_of(self, study: str, part: str) -> float:
        """The studies' own estimate of a part's training, on one core, or on the GPUs that it is granted."""
        return sum(self._minutes_of(cell) * len(cell.seeds) for cell in self.parts[study][part])

    def _minutes_of(self, cell: Cell) -> float:
        on_gpu = cell.minutes_on_gpu if self.settings.gpu else None
        return cell.minutes_per_run if on_gpu is None else on_gpu

    def remaining(self, artefacts: Iterable[str], prepared: Path) -> Remaining:
        """What making these artefacts takes.

        Args:
            artefacts: their names.
            prepared: the folder of prepared data, whose hashes name the finished runs.
        """
        studies = sorted({name for artefact in artefacts for name in self.studies_of(artefact)})
        hours: dict[tuple[str, int], float] = {}
        unfinished = set()
        for study in studies:
            for part, cells in self.parts[study].items():
                missing = {run: time for cell in cells for run, time in self._missing_runs(cell, prepared)}
                hours |= missing
                unfinished |= {(study, part)} if missing else set()
        wanted = {c.settings.corruption.dataset for name in studies for c in self.selected[name]}
        wanted |= {used for name in wanted for used in datasets.get(name).uses}
        gigabytes = sum(self._gigabytes(name) for name in wanted)
        where = "a GPU" if self.settings.gpu else "one core"
        return Remaining(len(hours), len(unfinished), sum(hours.values()), gigabytes, where)

    def check_gpus(self, artefacts: Iterable[str]) -> None:
        """Compare the methods behind these artefacts with how many GPUs train one run.

        Raises:
            UserError: a method allows one only.
        """
        for study in sorted({name for artefact in artefacts for name in self.studies_of(artefact)}):
            for cell in self.selected[study]:
                check_processes(cell.settings, self.settings.gpu, study)

    def _check_published(self, summary: Path) -> None:
        named = {name: artefact.published for name, artefact in self.artefacts.items() if artefact.published}
        if not named:
            return
        with summary.open(encoding="utf-8", newline="") as rows:
            known = sorted({row["study"] for row in csv.DictReader(rows)})
        for name, published in named.items():
            where = f"artefacts.{name}.published.study: no published values called"
            refuse_unknown([published.study], known, where)

    def _missing_runs(self, cell: Cell, prepared: Path) -> list[tuple[tuple[str, int], float]]:
        """The runs of a cell that are not finished, by key and seed, and the hours of each."""
        data = prepared / f"{cell.settings.corruption.dataset}.safetensors"
        key = run_key(cell.settings, data_digest(data) if data.is_file() else "")
        seconds = recorded_seconds(self.settings.finished_runs, key, self.counting)
        mean = sum(seconds.values()) / len(seconds) if seconds else 60 * self._minutes_of(cell)
        return [((key, seed), mean / 3600) for seed in cell.seeds if seed not in seconds]

    def _gigabytes(self, dataset: str) -> float:
        """What the network must give of a dataset."""
        if self._missing_step(dataset, offline=True) is None:
            return 0.0
        files: Sequence[RemoteFile] = datasets.get(dataset).files
        return sum(file.expected_size for file in files) / 1e9

    def _missing_step(self, dataset: str, *, offline: bool) -> str | None:
        """What a person must do before a dataset can be fetched; None: nothing."""
        data, folder = self.settings.data, self.raw / dataset
        return check_available(dataset, data.mirror, offline, data.accept, folder, part=self.part)

    def _why_left_out(self, artefact: str) -> str | None:
        names = self.studies_of(artefact)
        if any(self.studies[name].cells for name in names) and not self.studies_with_runs(artefact):
            return f"config key only selects none of its cells (it is {canonical(self.settings.only)})."
        wanted = {cell.settings.corruption.dataset for name in names for cell in self.selected[name]}
        offline = self.settings.data.offline
        problems = {name: self._missing_step(name, offline=offline) for name in sorted(wanted)}
        there = [name for name, problem in problems.items() if not problem]
        instead = f" Or select what is there: only='{{dataset: [{', '.join(there)}]}}'." if there else ""
        return next((problem + instead for problem in problems.values() if problem), None)
