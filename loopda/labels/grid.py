"""Where the cells of a coarse map lie in the image: one rule for all predictions, labels and regions that are compared.

There are two conventions (`Outputs.aligned`). With aligned corners, which the literature on adaptation uses for
upsampling, the first and the last cell lie on the first and the last pixel. Without, as in DAFormer, the cells divide
the image into equal parts and lie in their centres. Under the wrong convention, a cell at the border is misplaced by
half a cell.
"""

import torch
from torch import Tensor


def positions(cells: int, pixels: int, *, aligned: bool, device: torch.device | None = None) -> Tensor:
    """The centre of each of `cells` along a side of `pixels`, (cells,) float64; pixel k covers [k, k + 1).

    At this point, bilinear upsampling to `pixels` (`upsample`) has the value of the cell. A single cell lies in the
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

    A cell is as large as the distance between two cells; the part of it beyond the edge of the image does not count.
    """
    down, across = (
        _areas(cells, pixels, aligned=aligned, device=shown.device)
        for cells, pixels in zip(size, shown.shape[-2:], strict=True)
    )
    return down @ shown.double() @ across.T


def _areas(cells: int, pixels: int, *, aligned: bool, device: torch.device) -> Tensor:
    """The share of each cell that each pixel of a side covers, (cells, pixels); the shares of a cell sum to 1."""
    width = (pixels - 1) / (cells - 1) if aligned and cells > 1 else pixels / cells
    centres = positions(cells, pixels, aligned=aligned, device=device)[:, None]
    edges = torch.arange(pixels, dtype=torch.float64, device=device)
    shared = torch.minimum(edges + 1, centres + width / 2) - torch.maximum(edges, centres - width / 2)
    shared = shared.clamp(min=0)
    return shared / shared.sum(dim=1, keepdim=True)
