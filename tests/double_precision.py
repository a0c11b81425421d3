"""PyTorch in double precision, so that two ways to compute the same differ by rounding alone, and that by very little.

In single precision the same sums in another order differ in the sixth digit, on each kind of CPU otherwise, and a
training magnifies that with each step: after six of them a loss may be another by a tenth. Then no bound tells rounding
from a fault. One step in double precision differs in the twelfth digit, and a fault in the first ones.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

ROUNDING = 1e-9  # relative: a thousand times what one step differs by, and a millionth of what a fault does


def in_double_precision(patch: pytest.MonkeyPatch | None = None) -> None:
    """From now on, in this process; where there is a `patch`, it undoes all but the default type."""
    patch = patch or pytest.MonkeyPatch()
    torch.set_default_dtype(torch.float64)
    patch.setattr(torch.Tensor, "float", torch.Tensor.double)
    batches = importlib.import_module("loopda.data.batches")
    to_images = batches.to_images
    patch.setattr(batches, "to_images", lambda arrays: to_images(arrays).double())


@contextmanager
def double_precision() -> Iterator[None]:
    """Within the block. What tests share is made before: it is in single precision."""
    before = torch.get_default_dtype()
    with pytest.MonkeyPatch.context() as patch:
        in_double_precision(patch)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
