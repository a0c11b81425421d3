"""The differences between the tensors of a file and those that a network needs."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EXAMPLES = 5  # differences of one kind that a message shows
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# by a part of a line of `mismatches`, what is said of several tensors
_KINDS = {
    " is missing": "are missing",
    " has no place": "have no place in the network",
    ", the network has ": "have other shapes",
    "no plain numbers": "are no plain numbers",
    " not finite": "hold numbers that are not finite",
}


def mismatches(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """One line for each tensor of `found` that cannot stand for the tensor of that name in `wanted`; [] where all can.

    A tensor may be missing, unexpected, of another shape, not plain numbers, or not finite. The counters of batch
    normalisations may be missing: old files and conversions have none, and nothing here reads them.
    """
    lines = []
    for name, value in wanted.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):
                lines.append(f"{name} is missing")
        elif found[name].shape != value.shape:
            lines.append(f"{name} is {tuple(found[name].shape)}, the network has {tuple(value.shape)}")
        elif found[name].layout != torch.strided:
            lines.append(f"{name} holds {found[name].layout}, no plain numbers (sparse?)")
        elif value.is_floating_point() and (found[name].dtype not in _FLOATS or found[name].is_meta):
            lines.append(f"{name} holds {found[name].dtype} on {found[name].device}, no plain numbers (quantised?)")
        elif not found[name].isfinite().all():
            lines.append(f"{name} holds numbers that are not finite")
    return lines + [f"{name} has no place in the network" for name in found if name not in wanted]


def abridged(lines: Sequence[str]) -> str:
    """The lines of `mismatches` as one text: the first few of each kind, the number of the others, and of all."""
    shown, counts = [], Counter()
    for line in lines:
        kind = next((kind for kind in _KINDS if kind in line), "")
        counts[kind] += 1
        if counts[kind] <= EXAMPLES:
            shown.append(f"  {line}")
    shown += [f"  and {count - EXAMPLES} more {_KINDS[kind]}" for kind, count in counts.items() if count > EXAMPLES]
    return "\n".join([*shown, f"{len(lines)} fault{'s' * (len(lines) != 1)} in all"])
