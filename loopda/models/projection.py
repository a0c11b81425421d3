"""The projection head of SimCLRv2."""

from torch import Tensor, nn

from loopda.models.compute.normalisation import BatchNorm1d
from loopda.models.compute.precision import mixed


@mixed
class ProjectionHead(nn.Sequential):
    """Three linear layers with batch normalisation (Chen et al., NeurIPS 2020, section 2): (N, C) -> (N, size)."""

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

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (N, C) -> projections (N, size), not normalised."""
        return super().forward(features)
