"""The weighted cross-entropy and the feature distance of DAFormer against loops over the pixels."""

import math

import pytest
import torch

from loopda.losses.distance import feature_distance
from loopda.losses.segmentation import pseudo_cross_entropy, weighted_cross_entropy


@pytest.fixture(autouse=True)
def the_same_random_numbers_in_every_run():
    torch.manual_seed(0)


def batch():
    labels = torch.randint(4, (2, 3, 5))
    labels[0, 0, :3] = 255
    return torch.randn(2, 4, 3, 5), labels, torch.rand(2, 3, 5)


def test_the_weighted_cross_entropy_is_the_weighted_sum_over_all_pixels():
    logits, labels, weights = batch()
    total = 0.0
    for n in range(2):
        for y in range(3):
            for x in range(5):
                if labels[n, y, x] != 255:
                    exps = [math.exp(float(logits[n, k, y, x])) for k in range(4)]
                    total -= float(weights[n, y, x]) * math.log(exps[int(labels[n, y, x])] / sum(exps))
    found = weighted_cross_entropy(logits=logits, labels=labels, weights=weights)
    assert float(found) == pytest.approx(total / 30, rel=1e-5)


def test_two_classes_of_equal_logits_cost_log_2_times_the_mean_weight():
    labels = torch.tensor([[[0, 1, 255, 0]]])
    weights = torch.tensor([[[1.0, 0.5, 9.0, 0.0]]])
    found = weighted_cross_entropy(logits=torch.zeros(1, 2, 1, 4), labels=labels, weights=weights)
    assert float(found) == pytest.approx(math.log(2) * 1.5 / 4)


def test_with_weights_of_one_it_is_the_cross_entropy_of_pseudo_labels():
    logits, labels, weights = batch()
    found = weighted_cross_entropy(logits=logits, labels=labels, weights=torch.ones_like(weights))
    assert torch.allclose(found, pseudo_cross_entropy(logits=logits, labels=labels))


def test_without_a_label_or_a_weight_the_loss_is_zero_and_carries_a_graph():
    logits, labels, weights = batch()
    logits.requires_grad_(True)
    for wrong in ((torch.full_like(labels, 255), weights), (labels, torch.zeros_like(weights))):
        loss = weighted_cross_entropy(logits=logits, labels=wrong[0], weights=wrong[1])
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()


def test_descent_raises_the_labels_logit_by_its_weight():
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    weights = torch.tensor([[[1.0, 0.25]]])
    weighted_cross_entropy(logits=logits, labels=torch.tensor([[[0, 0]]]), weights=weights).backward()
    assert logits.grad[0, :, 0].tolist() == [[-0.25, -0.0625], [0.25, 0.0625]]


def test_the_feature_distance_is_the_mean_norm_over_the_chosen_positions():
    features, reference = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 3, 4)
    where = torch.rand(2, 3, 4) < 0.4
    norms = []
    for n in range(2):
        for y in range(3):
            for x in range(4):
                if where[n, y, x]:
                    pairs = zip(features[n, :, y, x].tolist(), reference[n, :, y, x].tolist(), strict=True)
                    norms.append(math.sqrt(sum((one - other) ** 2 for one, other in pairs)))
    found = feature_distance(features=features, reference=reference, where=where)
    assert float(found) == pytest.approx(sum(norms) / len(norms), rel=1e-5)


def test_a_distance_of_3_and_4_is_5():
    features = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    where = torch.ones(1, 1, 1, dtype=torch.bool)
    assert float(feature_distance(features=features, reference=torch.zeros(1, 2, 1, 1), where=where)) == 5


def test_without_a_position_the_distance_is_zero_and_carries_a_graph():
    features = torch.randn(1, 2, 3, 3, requires_grad=True)
    where = torch.zeros(1, 3, 3, dtype=torch.bool)
    loss = feature_distance(features=features, reference=torch.randn(1, 2, 3, 3), where=where)
    loss.backward()
    assert loss.item() == 0
    assert not features.grad.any()


def test_equal_features_have_no_gradient_and_others_are_pulled_towards_the_reference():
    features = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).reshape(1, 2, 1, 2).requires_grad_(True)
    reference = torch.zeros(1, 2, 1, 2, requires_grad=True)
    where = torch.ones(1, 1, 2, dtype=torch.bool)
    feature_distance(features=features, reference=reference, where=where).backward()
    assert features.grad.flatten().tolist() == [0, 0.5, 0, 0]
    assert reference.grad is None
