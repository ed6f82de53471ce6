"""California Housing: the median value of houses in 20,640 block groups (Pace and Barry 1997)."""

from pathlib import Path

import numpy as np

from lapwing.datasets.base import MIB, Dataset, Member, RemoteFile
from lapwing.errors import UserError
from lapwing.files import Array

DATA = "CaliforniaHousing/cal_housing.data"
COLUMNS = 9


def read(folder: Path) -> dict[str, Array]:
    """Features float32 [20640, 8] in scikit-learn's order, unscaled; targets in 100,000 dollars.

    MedInc, HouseAge, AveRooms, AveBedrms, Population, AveOccup, Latitude, Longitude (spec
    lap-experiments, section 3). There is no test split: the study makes one.
    """
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = _columns(folder / DATA)
    features = [
        income,
        age,
        rooms / households,
        bedrooms / households,
        people,
        people / households,
        latitude,
        longitude,
    ]
    return {
        "train/inputs": np.stack(features, axis=1).astype(np.float32),
        "train/targets": (value / 100_000).astype(np.float32),
    }


def _columns(path: Path) -> Array:
    """The columns of the file, float64 [9, N]."""
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UserError(f"{path} is no table of numbers ({error}).") from None
    if table.shape[1] != COLUMNS:
        raise UserError(f"{path} has {table.shape[1]} columns, expected {COLUMNS}.")
    return table.T


DATASET = Dataset(
    title="California Housing",
    version=1,
    task="regression",
    classes=None,
    scale=1.0,
    input_shape=(8,),
    rows={"train": 20_640},
    licence="none stated (1990 US census; Pace and Barry 1997; StatLib)",
    read=read,
    mirror_folder="california-housing",
    files=(
        RemoteFile(
            name="cal_housing.tgz",
            urls=(
                "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
                "https://ndownloader.figshare.com/files/5976036",
            ),
            sha256="aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
            largest=16 * MIB,
            members=(
                Member(
                    name=DATA,
                    largest=16 * MIB,
                    # Computed from a copy with the official values; of the official bytes nothing is known.
                    copy_sha256="a2b44dcc7e1c9091b43c4f458b25cbd1f7e8068d08edd26bc4703108d3fa6214",
                ),
            ),
        ),
    ),
)
