"""Time, operations and memory of a step."""

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

Step = Callable[[], object]
Clock = Callable[[], float]
Key = TypeVar("Key")


class Counts(NamedTuple):
    """What a step needs, on any device.

    operations: floating point operations of convolutions and matrix products; a multiply-add is two. saved: bytes that
    the forward passes keep for the backward passes, without parameters. peak: the most bytes of the step's own tensors
    that are alive at once.
    """

    operations: int
    saved: int
    peak: int


def count(step: Step, constants: Iterable[Tensor]) -> Counts:
    """Run `step` once and count. constants: the parameters and buffers, which are not counted."""
    saved = Storages()
    known = {tensor.untyped_storage()._cdata for tensor in constants}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in known:
            saved.add(tensor.untyped_storage())
        return tensor

    counting = CountingMode()
    with saved_tensors_hooks(keep, lambda tensor: tensor), counting:
        step()
    return Counts(counting.operations, saved.total, counting.storages.peak)


class Storages:
    """The storages of tensors, each counted once: the bytes alive, their peak, and the total."""

    def __init__(self) -> None:
        self.bytes = self.peak = self.total = 0
        self._living: set[int] = set()

    def add(self, storage: torch.UntypedStorage) -> None:
        """Count `storage`, unless it is known."""
        key, size = storage._cdata, storage.nbytes()
        if key not in self._living:
            self._living.add(key)
            self.bytes += size
            self.total += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._living.discard(key)
        self.bytes -= size


class CountingMode(TorchDispatchMode):
    """Counts the operations by PyTorch's formulas, and the memory of their results.

    PyTorch's FlopCounterMode fails here: its hooks on modules do not allow a backward pass within another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.storages = Storages()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.operations += formula(*args, **(kwargs or {}), out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.storages.add(tensor.untyped_storage())
        return out


def milliseconds(
    steps: Mapping[Key, Step], *, repeats: int, device: torch.device, clock: Clock = time.perf_counter
) -> dict[Key, list[float]]:
    """The times of each of `steps`. The steps take turns, so that a change of the machine's load affects all of them.

    Each runs once untimed before. clock: in seconds.
    """

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock()

    times: dict[Key, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started = now()
            step()
            if repeat:
                times[name].append(1000 * (now() - started))
    return times


def gpu_peak(step: Step, device: torch.device) -> int:
    """The peak of the bytes that `step` allocates on the GPU, with workspaces."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def matmul_peak(device: torch.device, dtype: torch.dtype, clock: Clock = time.perf_counter) -> float:
    """Operations per second of a large matrix product, the best of several: the machine's practical limit."""
    size = 8192 if device.type == "cuda" else 1536
    first, second = torch.rand(2, size, size, device=device).to(dtype).unbind()
    times = milliseconds({"product": lambda: first @ second}, repeats=8, device=device, clock=clock)["product"]
    return 2 * size**3 / (min(times) / 1000)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median over the turns of how much longer `of` took than `to`."""
    return median(first / second for first, second in zip(of, to, strict=True))
