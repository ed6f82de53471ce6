"""Rising levels: of each corrupt source a greater share of samples is corrupted than of the one before."""

import numpy as np
from pydantic import Field, model_validator

from lapwing.files import Array
from lapwing.schema import Closed


class RisingLevels(Closed):
    """The levels of the corrupt sources, in the order in which the sources are drawn."""

    lowest: float = Field(default=0.25, ge=0, le=1)
    """Level of the first corrupt source that is drawn; the levels rise in equal steps."""
    highest: float = Field(default=1.0, ge=0, le=1)
    """Level of the last one."""

    @model_validator(mode="after")
    def _rise(self) -> "RisingLevels":
        if self.lowest > self.highest:
            raise ValueError(f"lowest is above highest ({self.lowest:g} and {self.highest:g})")
        return self

    def levels(self, sources: int) -> Array:
        """The level of each of so many corrupt sources, [sources]."""
        return np.linspace(self.lowest, self.highest, sources)
