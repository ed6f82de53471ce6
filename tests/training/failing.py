"""What a process does that fails; apart from the tests, so that processes start fast."""

import atexit
import os
import time

import torch

from lapwing.training.distributed import Processes


def fail_beside_a_waiting_process(processes: Processes, error: Exception) -> None:
    """The second process fails while the first one waits for it."""
    if not processes.first:
        raise error
    processes.sum(torch.ones(1))


def fail_beside_an_aborted_process(processes: Processes, error: Exception) -> None:
    """The second process fails, and before it has ended the first is aborted, as by a lost connection."""
    if not processes.first:
        atexit.register(time.sleep, 60)
        raise error
    time.sleep(5)
    os.abort()
