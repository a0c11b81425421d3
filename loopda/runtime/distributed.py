"""Data-parallel training: each process has a share of every batch, and the results are those of one process.

The processes compute the step of the whole batch together. Each runs the networks on its own samples. Whatever depends
on other samples is combined here:

- A loss is a sum over samples divided by a count, both over all processes (`mean`). Every process has the same value.
- Batch normalisation gathers its statistics, with gradients (`gather`, loopda/models/compute/normalisation.py).
- Random numbers are drawn for the whole batch by every process, and each takes its share (`draw_share`).
- The gradients of the parameters are summed (`add_gradients`). All processes then take the same optimiser step.

PyTorch's DistributedDataParallel does only the last of these: it averages gradients of losses that each process
computes alone. It also expects one backward pass through all parameters of one network, but these stages have several
networks, optimisers and backward passes, and freeze networks for a while. Without torchrun, each function here does the
same for one process. `loopda.runtime.processes` has rank and number of the processes without importing PyTorch.
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


class _Independent:
    depth = 0  # of the nested blocks in which this process works alone


def start(device: torch.device) -> None:
    """Join the other processes of torchrun, if there are any: by gloo on CPUs, by NCCL on GPUs."""
    if processes.count() == 1 or collective.is_initialized():
        return
    collective.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(_leave)


def count() -> int:
    """The number of processes that share each batch."""
    return 1 if _Independent.depth or not collective.is_initialized() else collective.get_world_size()


def rank() -> int:
    """The number of this process, 0 ... count() - 1."""
    return 0 if count() == 1 else collective.get_rank()


@contextmanager
def independent() -> Iterator[None]:
    """In this block each process works alone, on batches of its own."""
    _Independent.depth += 1
    try:
        yield
    finally:
        _Independent.depth -= 1


def check_share(key: str, batch_size: int) -> None:
    """ConfigError where the number of processes does not divide the batch size. key: its key, for the message."""
    if batch_size % processes.count():
        raise ConfigError(
            f"{key}: {processes.count()} processes cannot share a batch of {batch_size} equally; choose a number of "
            "processes that divides it (the key processes, torchrun's --nproc-per-node)"
        )


def share(batch: Sequence[Item]) -> Sequence[Item]:
    """This process's samples of the whole batch: a contiguous part, in the order of the ranks."""
    each = len(batch) // count()
    return batch[rank() * each : (rank() + 1) * each]


def round_robin(items: Iterable[Item]) -> list[Item]:
    """This process's part of `items` when they are assigned to the processes in turn."""
    return list(items)[rank() :: count()]


def mean(total: Tensor, number: Tensor | int) -> Tensor:
    """`total` / `number`, both summed over all processes; where the number is 0, a 0 that still carries a graph.

    total: a sum over this process's samples, of any shape. number: how many terms it has. Every process gets the same
    value. The gradient of the value is that of the process's own total; this requires that all processes compute the
    same from the value.
    """
    if count() == 1:
        return total / (number.clamp(min=1) if isinstance(number, Tensor) else max(number, 1))
    wide = total.to(torch.promote_types(total.dtype, torch.float32))
    everywhere = _Sum.apply(torch.cat([wide.reshape(-1), torch.as_tensor(number).to(wide).reshape(1)]))
    return everywhere[:-1].view_as(total) / everywhere[-1].clamp(min=1)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of the whole batch; every process has equally many.

    Each process's gradient is that of its own rows; this requires that all processes compute the same from the result.
    """
    if count() == 1:
        return rows
    before = rows.new_zeros(rank() * len(rows), *rows.shape[1:])
    after = rows.new_zeros((count() - rank() - 1) * len(rows), *rows.shape[1:])
    return _Sum.apply(torch.cat([before, rows, after]))


def gather(values: Tensor) -> Tensor:
    """The `values` of all processes, which have the same shape: (processes, *shape). Gradients of all are summed."""
    return _Gather.apply(values) if count() > 1 else values[None]


def draw_share(draw: Callable[[int], Tensor], rows: int, shares: Sequence[Sequence[int]] | None = None) -> Tensor:
    """This process's rows of draw(n), which draws n random rows for the whole batch.

    rows: the number of this process's rows. shares: for a batch of several parts, the number of rows of each part, for
    each process; without it, every process has `rows`.
    """
    if count() == 1:
        return draw(rows)
    shares = shares or [[rows]] * count()
    whole = draw(sum(map(sum, shares)))
    parts = whole.split([share_of_process[part] for part in range(len(shares[0])) for share_of_process in shares])
    return torch.cat(parts[rank() :: count()])


def gather_integers(numbers: Sequence[int]) -> list[list[int]]:
    """The integers of each process; every process has equally many."""
    if count() == 1:
        return [list(numbers)]
    every = torch.zeros(count(), len(numbers), dtype=torch.int64)
    every[rank()] = torch.tensor(numbers, dtype=torch.int64)
    collective.all_reduce(every)
    return every.tolist()


def add_counts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """The sum of the `counts` of all processes."""
    sums = torch.from_numpy(np.array(counts, dtype=np.int64))
    if count() > 1:
        collective.all_reduce(sums)
    return sums.numpy()


def total(number: int) -> int:
    """The sum of an integer over all processes."""
    return sum(numbers[0] for numbers in gather_integers([number]))


def largest(number: int) -> int:
    """The maximum of an integer over all processes."""
    return max(numbers[0] for numbers in gather_integers([number]))


def wait() -> None:
    """Wait until every process has called this."""
    gather_integers([0])


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy the values of process 0 to all processes."""
    if count() > 1:
        for tensor in filter(torch.numel, tensors):
            values = tensor.detach().contiguous()
            collective.broadcast(values, 0)
            tensor.detach().copy_(values)


def add_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by its sum over all processes; a gradient that no process has stays None."""
    if count() == 1:
        return
    has = np.array([parameter.grad is not None for parameter in parameters])
    used = [parameter for parameter, owners in zip(parameters, add_counts(has), strict=True) if owners]
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
    """The sum over the processes. All compute the same from it, so each process's gradient is already the whole one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.clone()
        collective.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Gather(torch.autograd.Function):
    """The values of all processes. Each uses them for its own samples, so the gradients of all are summed."""

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
