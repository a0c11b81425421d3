"""One training in several processes, each with a share of every batch, and the same numbers as in one process.

What is computed is the step of the whole batch. Each process runs the networks on its own samples; whatever depends on
other samples is put together here:

- a loss is a sum over samples divided by a count, both over all processes (`mean`); every process holds the same value;
- batch normalisation gathers its statistics with their gradients (`gathered`, loopda/models/compute/normalisation.py);
- what chance decides is drawn for the whole batch by every process, and each takes its share (`own_rows`);
- the gradients of the parameters are added (`add_gradients`), after which all processes take the same step.

PyTorch's DistributedDataParallel does the last alone: it averages over losses that each process has for itself, and
expects one backward pass through all parameters of one network, where these stages have several networks, optimisers
and passes, some of them frozen for a while. Without torchrun each function here does what it does for one process.
"""

import atexit
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as collective

from loopda.errors import ConfigError
from loopda.runtime import processes

Item = TypeVar("Item")


class _Apart:
    depth = 0  # of the blocks in which this process works by itself


def start(device: torch.device) -> None:
    """Join the other processes of torchrun, where there are some: by gloo on CPUs, by NCCL on GPUs."""
    if processes.count() == 1 or collective.is_initialized():
        return
    collective.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(_leave)


def count() -> int:
    """The number of processes that share each batch."""
    return 1 if _Apart.depth or not collective.is_initialized() else collective.get_world_size()


def rank() -> int:
    """The number 0 ... count() - 1 of this process."""
    return 0 if count() == 1 else collective.get_rank()


@contextmanager
def apart() -> Iterator[None]:
    """In this block each process works by itself, on batches of its own."""
    _Apart.depth += 1
    try:
        yield
    finally:
        _Apart.depth -= 1


def check_share(key: str, batch_size: int) -> None:
    """ConfigError, which names `key`, where the processes cannot share a batch of this size equally."""
    if batch_size % processes.count():
        raise ConfigError(
            f"{key}: {processes.count()} processes cannot share a batch of {batch_size} equally; choose a number of "
            "processes that divides it (the key processes, torchrun's --nproc-per-node)"
        )


def share(batch: Sequence[Item]) -> Sequence[Item]:
    """The samples of the whole batch that are this process's, in a row; those of process 0 come first."""
    each = len(batch) // count()
    return batch[rank() * each : (rank() + 1) * each]


def turns(items: Iterable[Item]) -> list[Item]:
    """Those of `items` that are this process's where all are dealt out in turn."""
    return list(items)[rank() :: count()]


def mean(total: Tensor, number: Tensor | int) -> Tensor:
    """`total` / `number`, both added over all processes; 0, which still carries a graph, where the number is 0.

    total: a sum over this process's samples, of any shape; number: how many terms it has. Every process gets the same
    value; its gradient is that of the process's own total, as long as all go on alike with the value.
    """
    if count() == 1:
        return total / (number.clamp(min=1) if isinstance(number, Tensor) else max(number, 1))
    wide = total.to(torch.promote_types(total.dtype, torch.float32))
    everywhere = _Sum.apply(torch.cat([wide.reshape(-1), torch.as_tensor(number).to(wide).reshape(1)]))
    return everywhere[:-1].view_as(total) / everywhere[-1].clamp(min=1)


def joined(rows: Tensor) -> Tensor:
    """The rows of all processes, which have equally many, in the order of the whole batch.

    Each process's gradient is that of its own rows, as long as all go on alike with the result.
    """
    if count() == 1:
        return rows
    before = rows.new_zeros(rank() * len(rows), *rows.shape[1:])
    after = rows.new_zeros((count() - rank() - 1) * len(rows), *rows.shape[1:])
    return _Sum.apply(torch.cat([before, rows, after]))


def gathered(values: Tensor) -> Tensor:
    """The `values` of every process, of one shape: (processes, *shape). Gradients come back from all processes."""
    return _Gather.apply(values) if count() > 1 else values[None]


def own_rows(draw: Callable[[int], Tensor], rows: int, shares: Sequence[Sequence[int]] | None = None) -> Tensor:
    """draw(n) makes n rows at random for the whole batch; returns this process's.

    rows: how many it has. shares: where the batch has several parts, the rows of each part, for each process; without
    them all processes have equally many.
    """
    if count() == 1:
        return draw(rows)
    shares = shares or [[rows]] * count()
    whole = draw(sum(map(sum, shares)))
    parts = whole.split([its[part] for part in range(len(shares[0])) for its in shares])
    return torch.cat(parts[rank() :: count()])


def everyones(numbers: Sequence[int]) -> list[list[int]]:
    """The whole numbers of each process; all have equally many."""
    if count() == 1:
        return [list(numbers)]
    every = torch.zeros(count(), len(numbers), dtype=torch.int64)
    every[rank()] = torch.tensor(numbers, dtype=torch.int64)
    collective.all_reduce(every)
    return every.tolist()


def added(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """The sum of the `counts` of all processes."""
    sums = torch.from_numpy(np.array(counts, dtype=np.int64))
    if count() > 1:
        collective.all_reduce(sums)
    return sums.numpy()


def total(number: int) -> int:
    """The sum of a whole number over all processes."""
    return sum(numbers[0] for numbers in everyones([number]))


def largest(number: int) -> int:
    """The largest of a whole number over all processes."""
    return max(numbers[0] for numbers in everyones([number]))


def wait() -> None:
    """Until every process is here."""
    everyones([0])


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process the values that process 0 has."""
    if count() > 1:
        for tensor in filter(torch.numel, tensors):
            values = tensor.detach().contiguous()
            collective.broadcast(values, 0)
            tensor.detach().copy_(values)


def add_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by the sum over all processes; one that no process has stays None."""
    if count() == 1:
        return
    has = np.array([parameter.grad is not None for parameter in parameters])
    used = [parameter for parameter, processes_with in zip(parameters, added(has), strict=True) if processes_with]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if not used:
        return
    sums = torch.cat([parameter.grad.reshape(-1) for parameter in used])
    collective.all_reduce(sums)
    for parameter, summed in zip(used, sums.split([parameter.numel() for parameter in used]), strict=True):
        parameter.grad.copy_(summed.view(parameter.shape))


class _Sum(torch.autograd.Function):
    """The sum over the processes. All go on alike with it, so the gradient that each finds is the whole one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.clone()
        collective.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Gather(torch.autograd.Function):
    """The values of all processes. Each goes on with its own samples, so that gradients are added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        every = x.new_zeros(count(), *x.shape)
        every[rank()] = x
        collective.all_reduce(every)
        return every

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        collective.all_reduce(summed)
        return summed[rank()]


def _leave() -> None:
    if collective.is_initialized():
        collective.destroy_process_group()
