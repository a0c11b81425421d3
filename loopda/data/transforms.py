"""Random crops and flips, and bytes as tensors for the networks and back."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class View(NamedTuple):
    """A rectangle of an image, perhaps mirrored: the same for an image, its label and its day reference."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool

    def of(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view of an array (H, W, ...)."""
        part = array[self.top : self.top + self.height, self.left : self.left + self.width]
        return part[:, ::-1] if self.flipped else part

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Where the left, top, right and bottom edge of the view lie in its image of `size` (width, height), in [0, 1].

        In a mirrored view left is greater than right: its left edge shows what is further right in the image.
        """
        left, right = self.left, self.left + self.width
        if self.flipped:
            left, right = right, left
        width, height = size
        return left / width, self.top / height, right / width, (self.top + self.height) / height


def random_view(rng: np.random.Generator, *, size: tuple[int, int], crop: tuple[int, int]) -> View:
    """A uniformly placed `crop` (width, height) of an image of `size` (width, height), mirrored with probability 1/2.

    The lineage's augmentation for these stages (LoopDA's loaders, "RandomCrop" and "RandomHorizontallyFlip").
    """
    width, height = min(crop[0], size[0]), min(crop[1], size[1])
    left = int(rng.integers(size[0] - width + 1))
    top = int(rng.integers(size[1] - height + 1))
    return View(top, left, height, width, bool(rng.random() < 0.5))


def to_images(arrays: list[NDArray[np.uint8]]) -> Tensor:
    """Images (H, W, 3) uint8 -> (N, 3, H, W) float in [-1, 1], RGB."""
    # NumPy's arithmetic, because this may run in a loader thread: PyTorch's would start a second team of OpenMP
    # threads, whose spinning halves the speed of training on a machine with few cores
    batch = np.stack(arrays).astype(np.float32)
    batch /= np.float32(127.5)
    batch -= np.float32(1)
    return torch.from_numpy(batch).permute(0, 3, 1, 2)


def to_labels(arrays: list[NDArray[np.uint8]]) -> Tensor:
    """Label maps (H, W) uint8 -> (N, H, W) int64."""
    return torch.from_numpy(np.stack(arrays).astype(np.int64))


def pack(arrays: list[NDArray[np.uint8]]) -> Tensor:
    """Images (H, W, 3) -> (N, 3, H, W), or label maps (H, W) -> (N, H, W); bytes still, as batches are loaded."""
    packed = torch.from_numpy(np.stack(arrays))
    return packed.permute(0, 3, 1, 2) if packed.ndim == 4 else packed


def unpack(packed: Tensor) -> Tensor:
    """A batch of `pack` as `to_images` or `to_labels` would make it, on its device: bytes are sent there faster."""
    return packed.float().div_(127.5).sub_(1) if packed.ndim == 4 else packed.long()


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8, for pictures."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy()
