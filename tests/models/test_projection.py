import torch
from torch import nn

from loopda.models.compute.normalisation import BatchNorm1d
from loopda.models.projection import ProjectionHead


def test_the_projection_head_has_three_linear_layers_with_batch_normalisation():
    head = ProjectionHead(8, 4)
    kinds = [nn.Linear, BatchNorm1d, nn.ReLU] * 2 + [nn.Linear, BatchNorm1d]
    assert [type(part) for part in head] == kinds
    linear = [tuple(part.weight.shape) for part in head if isinstance(part, nn.Linear)]
    assert linear == [(8, 8), (8, 8), (4, 8)]


def test_projections_have_the_size_that_is_asked_for_and_both_signs():
    torch.manual_seed(0)
    projections = ProjectionHead(8, 4)(torch.rand(6, 8))
    assert tuple(projections.shape) == (6, 4)
    assert projections.min() < 0 < projections.max()
