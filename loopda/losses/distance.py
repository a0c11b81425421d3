"""Distances between the features of two networks."""

from torch import Tensor
from torch.linalg import vector_norm


def feature_distance(*, features: Tensor, reference: Tensor, where: Tensor) -> Tensor:
    """Mean over the positions `where` of the Euclidean distance ||features - reference||_2 over channels, in [0, inf).

    features, reference (N, C, h, w), the latter without gradient; where (N, h, w) bool. DAFormer's thing-class feature
    distance (Hoyer et al., CVPR 2022). Without any position the result is 0 and still carries a graph.
    """
    distance = vector_norm(features.float() - reference.detach().float(), dim=1)
    return (distance * where).sum() / where.sum().clamp(min=1)
