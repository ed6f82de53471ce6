"""What an artefact of a study is: a table or figure that a reader looks at, and the cells behind it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lapwing.schema import Closed, Name, validate

Reading = Annotated[str, Field(pattern=r"^(last|best|mean_last_[1-9]\d*)$")]
"""How one number is read from the epochs of a run: the last one, the best one, the mean of the last k."""

Axis = str | int | float | bool


class Metric(Closed):
    """A metric of the test split: what it is called, which direction is better, and how it is shown."""

    name: Name
    better: Literal["higher", "lower"]
    unit: Literal["percent", "mse", "loss"] = "percent"

    @property
    def factor(self) -> float:
        """What a stored value is multiplied by to be shown: results hold fractions."""
        return 100.0 if self.unit == "percent" else 1.0

    @property
    def smallest_margin(self) -> float:
        """The least margin of equivalence: one point for a share, none for an error."""
        return 1.0 if self.unit == "percent" else 0.0


class Cell(Closed):
    """One point of a study's grid, as an artefact sees it."""

    axes: dict[Name, Axis]
    metric: Metric
    seeds: tuple[int, ...]
    """The seeds asked for; empty where the cell was not selected."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Cell":
        """The cell written as `{dataset: …, method: …, metric: {…}, seeds: […]}`: the axes lie flat."""
        axes = {key: value for key, value in values.items() if key not in ("metric", "seeds")}
        whole = {"axes": axes, "metric": values.get("metric"), "seeds": values.get("seeds", ())}
        return validate(cls, whole, f"cell {axes}")


class Published(Closed):
    """Where an artefact's published values are."""

    study: Name
    """`published/<study>_runs.csv`, and the rows of `published/summary.csv`."""
    table: str
    """As `summary.csv` calls it: Table 1."""
    stand_in: dict[Name, Name] = {}
    """Our dataset and the published one that it stands in for: beside it for orientation only."""


class Artefact(Closed):
    """A table or figure: what it shows and how."""

    kind: Literal["table", "figure"]
    title: str
    rows: tuple[Name, ...] = ()
    """The axes whose values make the rows of a table, or the panels of a figure."""
    columns: Name = "method"
    studies: tuple[Name, ...] = ()
    """Further studies whose cells it shows beside those of its own."""
    published: Published | None = None
    published_columns: tuple[Name, ...] = ()
    """Further methods, shown with their published values only."""
    readings: tuple[Reading, ...] = Field(("last",), min_length=1)
    """The first is the published rule and is compared; the others are shown beside it."""
    decimals: int = Field(2, ge=0, le=6)
    bold: Literal["best", "within_one_std", "none"] = "best"
    draws: Literal["learning_curves", "source_history"] = "learning_curves"
    """What the general notebook draws for a figure."""

    @model_validator(mode="after")
    def _rows_of_a_table(self) -> "Artefact":
        if self.kind == "table" and not self.rows:
            raise ValueError("a table needs the axes of its rows (rows: [dataset, corruption])")
        if self.columns in self.rows:
            raise ValueError(f"{self.columns} is a row and a column")
        return self
