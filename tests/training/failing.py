"""What a process does that fails; apart from the tests, so that processes start fast."""

import torch

from lapwing.training.distributed import Processes


def fail_beside_a_waiting_process(processes: Processes, error: Exception) -> None:
    """The second process fails while the first one waits for it."""
    if not processes.first:
        raise error
    processes.sum(torch.ones(1))
