"""Rank and number of the processes of torchrun, from its environment variables; without torchrun, one process.

What these processes compute together is in `loopda.runtime.distributed`. This module does not import PyTorch, so that
stages without a network can use it.
"""

import os


def rank() -> int:
    """The number of this process, 0 ... count() - 1, over all nodes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """The number of processes of this stage, on all nodes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """The number of processes of this stage on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(count())))


def is_first() -> bool:
    """Whether this is the process that writes results, states, logs and metrics for all."""
    return rank() == 0
