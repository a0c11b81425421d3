"""ClassMix against a loop over the classes of each image."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from loopda.labels.mixing import VALUES, class_mask, paste


def naive_mask(labels, scores):
    """For each image: its values in the order of falling scores, the first half of them (rounded up)."""
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for sample, label in enumerate(labels):
        values = sorted(set(label.flatten().tolist()), key=lambda value: -float(scores[sample, value]))
        for value in values[: math.ceil(len(values) / 2)]:
            mask[sample] |= label == value
    return mask


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_the_mask_holds_the_half_of_each_images_values_with_the_largest_scores(seed, count):
    draws = torch.Generator().manual_seed(seed)
    values = torch.randperm(VALUES, generator=draws)[:count]
    labels = values[torch.randint(count, (3, 4, 5), generator=draws)]
    scores = torch.rand(3, VALUES, generator=draws)
    assert torch.equal(class_mask(labels, scores=scores), naive_mask(labels, scores))


def test_of_three_values_two_are_taken_and_void_is_one_of_them():
    labels = torch.tensor([[[4, 4, 9], [255, 9, 255]]])
    scores = torch.zeros(1, VALUES)
    scores[0, 255], scores[0, 9], scores[0, 4], scores[0, 100] = 0.9, 0.5, 0.1, 0.95
    assert class_mask(labels, scores=scores).tolist() == [[[False, False, True], [True, True, True]]]


def test_an_image_of_one_value_is_pasted_whole():
    assert class_mask(torch.full((2, 3, 3), 255), scores=torch.zeros(2, VALUES)).all()


def test_each_image_of_a_batch_has_its_own_draw():
    labels = torch.tensor([[[0, 1]], [[0, 1]]])
    scores = torch.zeros(2, VALUES)
    scores[0, 0] = scores[1, 1] = 1
    assert class_mask(labels, scores=scores).tolist() == [[[True, False]], [[False, True]]]


def test_the_source_is_pasted_where_the_mask_is_and_the_target_stays_elsewhere():
    mask = torch.tensor([[[True, False]]])
    assert paste(mask, torch.tensor([[[1, 2]]]), torch.tensor([[[3, 4]]])).tolist() == [[[1, 4]]]
    day, night = torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2)
    assert paste(mask, day, night)[0, :, 0].tolist() == [[0, 1]] * 3
