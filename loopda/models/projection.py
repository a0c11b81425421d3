"""The projection head of SimCLRv2."""

from torch import nn

from loopda.models.compute.normalisation import BatchNorm1d
from loopda.models.compute.precision import mixed


@mixed
class ProjectionHead(nn.Sequential):
    """Three linear layers with batch normalisation (Chen et al., NeurIPS 2020, section 2).

    Pooled features (N, C) -> projections (N, size), which do not have unit length.
    """

    def __init__(self, channels: int, size: int):
        super().__init__(
            nn.Linear(channels, channels, bias=False),
            BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, size, bias=False),
            BatchNorm1d(size),
        )
