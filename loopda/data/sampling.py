"""Which images a step sees: a pure function of (seed, stream, step), so that resuming costs nothing."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np

from loopda.randomness import generator

AnyBatch = TypeVar("AnyBatch")


def batch_indices(*, count: int, batch_size: int, step: int, seed: int, stream: str) -> list[int]:
    """The indices of the batch of `step` (1, 2, ...): every epoch is a fresh permutation of all `count` images."""
    first = (step - 1) * batch_size
    return [
        int(_permutation(count, (first + offset) // count, seed, stream)[(first + offset) % count])
        for offset in range(batch_size)
    ]


@lru_cache(maxsize=16)
def _permutation(count: int, epoch: int, seed: int, stream: str) -> np.ndarray:
    return generator(seed, f"order of {stream}", epoch).permutation(count)


def prefetched(make: Callable[[int], AnyBatch], *, first: int, last: int, workers: int) -> Iterator[AnyBatch]:
    """make(first), ..., make(last) in order, computed by `workers` threads ahead of use; 0 computes on demand.

    Decoding and resizing release Python's lock, so threads suffice; the number of them changes no result.
    """
    if workers == 0:
        yield from map(make, range(first, last + 1))
        return
    with ThreadPoolExecutor(workers) as pool:
        pending = deque(pool.submit(make, step) for step in range(first, min(first + 2 * workers, last + 1)))
        following = first + len(pending)
        while pending:
            batch = pending.popleft().result()
            if following <= last:
                pending.append(pool.submit(make, following))
                following += 1
            yield batch
