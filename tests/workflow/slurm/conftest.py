"""The fixture `slurm`, for the tests of this folder."""

from tests.workflow.slurm.cluster import slurm

__all__ = ["slurm"]
