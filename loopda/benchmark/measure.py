"""Time, operations and memory of a step."""

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], object]


class Counts(NamedTuple):
    """What a step needs, on any device.

    operations: floating point operations of the convolutions and matrix products, a multiply-add being two.
    saved: bytes that the forward passes keep for the backward passes, parameters left out. peak: most bytes of
    tensors that are alive at once and were made by the step.
    """

    operations: int
    saved: int
    peak: int


def count(step: Step, constants: Sequence[Tensor]) -> Counts:
    """Run `step` once and count; `constants` are there anyway: parameters and buffers."""
    known = {tensor.untyped_storage()._cdata for tensor in constants}
    saved: dict[int, tuple[int, object]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = storage.nbytes(), storage  # held, so that no other storage gets its number
        return tensor

    with FlopCounterMode(display=False) as operations, saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    total = sum(size for size, _ in saved.values())
    saved.clear()
    with Alive() as alive:
        step()
    return Counts(operations.get_total_flops(), total, alive.peak)


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, for as long as they live. peak: the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._made(tensor.untyped_storage())
        return out

    def _made(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages.add(key)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.bytes -= size


def milliseconds(steps: Mapping[str, Step], *, repeats: int, device: torch.device) -> dict[str, list[float]]:
    """The times of each of `steps`, taken in turn, so that a change of the machine's load meets all of them.

    Each runs once before, untimed.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started = _now(device)
            step()
            if repeat:
                times[name].append(1000 * (_now(device) - started))
    return times


def gpu_peak(step: Step, device: torch.device) -> int | None:
    """The most bytes that PyTorch holds on the GPU during `step`, networks included; None on other devices."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device)


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product, the best of some: what the machine could do at most."""
    size = 8192 if device.type == "cuda" else 1536
    first, second = torch.rand(2, size, size, device=device).to(dtype).unbind()
    times = milliseconds({"product": lambda: first @ second}, repeats=8, device=device)["product"]
    return 2 * size**3 / (min(times) / 1000)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median over the turns of how much longer `of` took than `to`."""
    return median(one / other for one, other in zip(of, to, strict=True))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
