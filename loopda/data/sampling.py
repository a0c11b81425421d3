"""Which images a step sees: a pure function of (seed, stream, step), so that resuming costs nothing."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np

from loopda.randomness import generator

AnyItem = TypeVar("AnyItem")
AnyResult = TypeVar("AnyResult")


def batch_indices(*, count: int, batch_size: int, step: int, seed: int, stream: str) -> list[int]:
    """The indices of the batch of `step` (1, 2, ...): every epoch is a fresh permutation of all `count` images."""
    first = (step - 1) * batch_size
    return [
        int(_permutation(count, (first + offset) // count, seed, stream)[(first + offset) % count])
        for offset in range(batch_size)
    ]


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` of the indices 0 .. count - 1: the first, the last, and others evenly between; all where there are
    fewer."""
    return np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()


@lru_cache(maxsize=16)
def _permutation(count: int, epoch: int, seed: int, stream: str) -> np.ndarray:
    return generator(seed, f"order of {stream}", epoch).permutation(count)


def prefetched(work: Callable[[AnyItem], AnyResult], items: Iterable[AnyItem], *, workers: int) -> Iterator[AnyResult]:
    """work(item) of each item in order, computed by `workers` threads, at most 2 * workers items ahead of use; 0
    computes on demand. The items are drawn from their iterator in the caller's thread.

    Decoding, resizing and encoding release Python's lock, so threads suffice; the number of them changes no result.
    """
    if workers == 0:
        yield from map(work, items)
        return
    items = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        pending = deque(pool.submit(work, item) for item in islice(items, 2 * workers))
        while pending:
            done = pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(items, 1))
            yield done
