"""Where the cells of a coarse map lie in the image: one rule for predictions, labels and regions that are compared.

A network's coarse maps are read in one of two ways (`Outputs.aligned`). With aligned corners, as the literature on
adaptation upsamples, the first and the last cell lie on the first and the last pixel; without, as DAFormer does, the
cells are equal parts of the image and lie in their middles. Taken for the other way, a cell at the rim is half a cell
from where it belongs.
"""

import torch
from torch import Tensor


def positions(cells: int, pixels: int, *, aligned: bool, device: torch.device | None = None) -> Tensor:
    """The point that each of `cells` along a side of `pixels` stands for, (cells,) float64; pixel k is [k, k + 1).

    It is where bilinear upsampling to `pixels` (`upsample`) has the cell's own value. A single cell stands for the
    middle.
    """
    numbers = torch.arange(cells, dtype=torch.float64, device=device)
    if aligned and cells > 1:
        return numbers * ((pixels - 1) / (cells - 1)) + 0.5
    return (numbers + 0.5) * (pixels / cells)


def nearest(labels: Tensor, size: tuple[int, int], *, aligned: bool) -> Tensor:
    """The label of the pixel in which each cell of a map of `size` (h, w) lies: (N, H, W) -> (N, h, w)."""
    rows, columns = (
        positions(cells, pixels, aligned=aligned, device=labels.device).long().clamp(max=pixels - 1)
        for cells, pixels in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows[:, None], columns]


def coverage(shown: Tensor, size: tuple[int, int], *, aligned: bool) -> Tensor:
    """The share of each cell's area where `shown` is true: (..., H, W) bool -> (..., *size) float64 in [0, 1].

    Cells are as large as they are apart; what of one lies beyond the image's edge does not count.
    """
    down, across = (
        _areas(cells, pixels, aligned=aligned, device=shown.device)
        for cells, pixels in zip(size, shown.shape[-2:], strict=True)
    )
    return down @ shown.double() @ across.T


def _areas(cells: int, pixels: int, *, aligned: bool, device: torch.device) -> Tensor:
    """Which share of each cell each pixel of a side is, (cells, pixels); a cell's shares sum to 1."""
    width = (pixels - 1) / (cells - 1) if aligned and cells > 1 else pixels / cells
    centres = positions(cells, pixels, aligned=aligned, device=device)[:, None]
    edges = torch.arange(pixels, dtype=torch.float64, device=device)
    shared = torch.minimum(edges + 1, centres + width / 2) - torch.maximum(edges, centres - width / 2)
    shared = shared.clamp(min=0)
    return shared / shared.sum(dim=1, keepdim=True)
