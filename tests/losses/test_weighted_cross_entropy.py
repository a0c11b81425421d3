"""The weighted cross-entropy of DAFormer against a loop over the pixels."""

import math

import pytest
import torch

from loopda.losses.segmentation import pseudo_cross_entropy, weighted_cross_entropy


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
