import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loopda.losses.features import feature_consistency, feature_distance


def naive_distance(x, z):
    """ROAD, equation 1: the sum over positions of the Euclidean distance, over the number of positions."""
    batch, channels, height, width = x.shape
    total = 0.0
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                total += math.sqrt(sum(float(x[n, c, i, j] - z[n, c, i, j]) ** 2 for c in range(channels)))
    return total / (batch * height * width)


def test_feature_consistency_is_the_l1_norm_per_value():
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    expected = sum(abs(a - b) for a, b in pairs) / first.numel()
    assert float(feature_consistency(translated=first, original=second)) == pytest.approx(expected, rel=1e-5)


def test_feature_consistency_draws_the_translated_features_and_leaves_the_originals_alone():
    translated, original = (torch.randn(1, 4, 2, 2, requires_grad=True) for _ in range(2))
    feature_consistency(translated=translated, original=original).backward()
    assert original.grad is None
    assert translated.grad.abs().sum() > 0


@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 3)] * 4))
def test_the_feature_distance_is_the_mean_over_positions_of_equation_1(seed, shape):
    draws = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, *shape, generator=draws)
    assert float(feature_distance(features=x, target=z)) == pytest.approx(naive_distance(x, z), rel=1e-4)


def test_the_feature_distance_of_two_positions_is_the_number_computed_by_hand():
    # distances 5 of (3, 4) and 13 of (5, 12); not the root of the mean of squares, which is 9.85
    x = torch.tensor([[3.0, 4.0], [5.0, 12.0]]).T.reshape(1, 2, 1, 2)
    assert float(feature_distance(features=x, target=torch.zeros_like(x))) == 9


def test_each_position_is_pulled_straight_to_its_target_with_equal_force_and_the_target_is_constant():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.5]]).T.reshape(1, 2, 1, 2).requires_grad_()
    target = torch.zeros(1, 2, 1, 2, requires_grad=True)
    feature_distance(features=x, target=target).backward()
    assert x.grad[0, :, 0, 0].tolist() == pytest.approx([0.3, 0.4])
    assert x.grad[0, :, 0, 1].tolist() == pytest.approx([0.0, 0.5])
    assert target.grad is None


def test_equal_features_have_no_distance_and_no_gradient():
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = feature_distance(features=x, target=x.detach().clone())
    loss.backward()
    assert loss.item() == 0
    assert x.grad.eq(0).all()


def test_the_feature_distance_of_no_image_is_a_zero_that_carries_a_graph():
    x = torch.zeros(0, 3, 2, 2, requires_grad=True)
    loss = feature_distance(features=x, target=torch.zeros(0, 3, 2, 2))
    loss.backward()
    assert loss.item() == 0


def test_of_chosen_positions_it_is_the_mean_over_these():
    draws = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 2, 6, 3, 4, generator=draws)
    where = torch.rand(2, 3, 4, generator=draws) < 0.4
    at = [(slice(n, n + 1), slice(None), slice(i, i + 1), slice(j, j + 1)) for n, i, j in where.nonzero().tolist()]
    chosen = [naive_distance(x[here], z[here]) for here in at]
    found = feature_distance(features=x, target=z, where=where)
    assert float(found) == pytest.approx(sum(chosen) / len(chosen), rel=1e-4)


def test_without_a_chosen_position_it_is_a_zero_that_carries_a_graph():
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = feature_distance(features=x, target=torch.randn(1, 2, 3, 3), where=torch.zeros(1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()
