"""Synthetic heart beats in twelve leads, in the files and the layout of PTB-XL, for which they stand.

A beat is a sum of five bell curves P, Q, R, S, T, as in the dynamical model of McSharry et al. (2003); an
abnormal one has a wide QRS complex and an inverted T wave. Nothing to fetch.
"""

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lapwing.datasets import ptb_xl
from lapwing.datasets.archive import pack
from lapwing.datasets.base import Dataset
from lapwing.errors import optional
from lapwing.files import Array

SAMPLES = 256
ROWS = {"train": 240, "test": 80}
SIZES = (60, 48, 22, 22, 22, 22, 22, 22)
"""Training rows of each nurse."""
SEED = 14
GAIN = 1000
"""Units of the stored signals per mV."""
WAVES = {  # mV, seconds after the R peak, seconds of width
    "P": (0.15, -0.18, 0.025),
    "Q": (-0.10, -0.035, 0.010),
    "R": (1.00, 0.0, 0.012),
    "S": (-0.25, 0.035, 0.010),
    "T": (0.30, 0.28, 0.045),
}
STATEMENTS: list[dict[str, Any]] = [
    {"": "NORM", "description": "normal", "diagnostic": 1.0, "diagnostic_class": "NORM"},
    {"": "CLBBB", "description": "left bundle branch block", "diagnostic": 1.0, "diagnostic_class": "CD"},
    {"": "SR", "description": "sinus rhythm", "diagnostic": "", "diagnostic_class": ""},
]
WIDER, FLATTER = 1.5, -0.2
"""What an abnormal beat's Q, R, S and T are, in terms of the normal."""
NOISE = 0.1
"""mV"""
GAINS = (0.7, 1.0, 0.4, -0.8, 0.3, 0.7, -0.4, 0.3, 0.7, 1.1, 1.0, 0.8)
"""How large a beat is in each of PTB-XL's leads."""


def read(folder: Path) -> dict[str, Array]:
    """Signals float32 [N, 12, 256] in mV; written as official files, and read as those of PTB-XL are."""
    with tempfile.TemporaryDirectory() as name:
        tree, archive = Path(name) / ptb_xl.TREE, Path(name) / ptb_xl.ARCHIVE
        _write_tree(tree)
        pack(tree, ptb_xl.TREE, archive)
        return ptb_xl.read_archive(archive, SAMPLES)


def _write_tree(tree: Path) -> None:
    """A folder as PTB-XL's: the two tables, and records of 100 Hz."""
    random = np.random.default_rng(SEED)
    rows = [
        _row(number, is_test, nurse, bool(random.random() < 0.5))
        for number, (is_test, nurse) in enumerate(_dealt(random), start=1)
    ]
    _write_table(tree / ptb_xl.TABLE, rows)
    _write_table(tree / ptb_xl.STATEMENTS, STATEMENTS)
    for row in rows:
        _write_record(tree / row["filename_lr"], _signals(random, abnormal="CLBBB" in row["scp_codes"]))


def _dealt(random: np.random.Generator) -> list[tuple[bool, int]]:
    """Whether it is of the test, and the nurse, of each row in a random order."""
    train = [(False, nurse) for nurse, size in enumerate(SIZES) for _ in range(size)]
    test = [(True, row % len(SIZES)) for row in range(ROWS["test"])]
    rows = train + test
    return [rows[place] for place in random.permutation(len(rows))]


def _row(number: int, is_test: bool, nurse: int, abnormal: bool) -> dict[str, Any]:
    return {
        "ecg_id": number,
        "nurse": float(nurse),
        "site": float(nurse % 3),
        "scp_codes": repr({"CLBBB" if abnormal else "NORM": 100.0, "SR": 0.0}),
        "strat_fold": ptb_xl.TEST_FOLD if is_test else 1 + number % (ptb_xl.TEST_FOLD - 1),
        "filename_lr": f"records100/00000/{number:05d}_lr",
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_record(path: Path, signals: Array) -> None:
    """A header and its signals [T, 12] in mV, 16 bits each."""
    wfdb = optional("wfdb", "signals")
    leads = len(ptb_xl.LEADS)
    path.parent.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        path.name,
        fs=ptb_xl.FREQUENCY,
        units=["mV"] * leads,
        sig_name=list(ptb_xl.LEADS),
        d_signal=np.rint(signals * GAIN).astype(np.int16),
        fmt=["16"] * leads,
        adc_gain=[GAIN] * leads,
        baseline=[0] * leads,
        write_dir=str(path.parent),
    )


def _signals(random: np.random.Generator, *, abnormal: bool) -> Array:
    """Beats at 50 to 100 a minute with a wandering baseline and a little noise, [T, 12] in mV."""
    seconds = np.arange(SAMPLES) / ptb_xl.FREQUENCY
    period = 60 / random.uniform(50, 100)
    since = (seconds - random.uniform(0, period) + 0.4 * period) % period - 0.4 * period
    beat: Array = np.sum([_bell(since, *_wave(random, name, abnormal=abnormal)) for name in WAVES], axis=0)
    gains = np.array(GAINS) * random.uniform(0.6, 1.4, len(GAINS))
    phases = random.uniform(0, 2 * np.pi, len(GAINS))
    wander = 0.1 * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * seconds[:, None] + phases)
    noise = random.normal(0, NOISE, wander.shape)
    return np.asarray(beat[:, None] * gains + wander + noise)


def _wave(random: np.random.Generator, name: str, *, abnormal: bool) -> tuple[float, float, float]:
    """Height, centre and width of a wave of one record."""
    height, centre, width = WAVES[name]
    if abnormal and name in ("Q", "R", "S"):
        centre, width = WIDER * centre, WIDER * width
    if abnormal and name == "T":
        height = FLATTER * height
    return height * random.uniform(0.7, 1.3), centre, width * random.uniform(0.8, 1.2)


def _bell(since: Array, height: float, centre: float, width: float) -> Array:
    return np.asarray(height * np.exp(-0.5 * ((since - centre) / width) ** 2))


DATASET = Dataset(
    title="Beats",
    version=1,
    task="classification",
    classes=2,
    scale=1.0,
    input_shape=(len(ptb_xl.LEADS), SAMPLES),
    rows=ROWS,
    licence="CC0 (generated)",
    read=read,
    recording=ptb_xl.RECORDING,
    further=ptb_xl.DATASET.further,
)
