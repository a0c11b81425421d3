"""Which of several processes this one is, as torchrun tells it by environment variables; one alone without torchrun."""

import os


def rank() -> int:
    """0 ... count() - 1, over all nodes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """The number of processes that work on this stage together, on all nodes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """As `count`, on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(count())))


def is_first() -> bool:
    """Whether this is the process that writes results, states, logs and metrics for all."""
    return rank() == 0
