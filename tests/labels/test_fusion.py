import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.labels.fusion import fuse
from loopda.models.segmenter import upsample

IGNORE = 255


def nearest(cell, cells, pixels, aligned):
    """The pixel in which a cell lies: two when that is on the edge of them."""
    place = Fraction(2 * cell + 1, 2) * Fraction(pixels, cells)
    if aligned and cells > 1:
        place = Fraction(cell * (pixels - 1), cells - 1) + Fraction(1, 2)
    return {min(math.floor(place), pixels - 1), max(math.ceil(place) - 1, 0)}


def fused_cell(p, label, alpha):
    """alpha * p + (1 - alpha) * onehot(y), plain p where y is not labelled."""
    if label == IGNORE:
        return p
    return [alpha * value + (1 - alpha) * (1.0 if c == label else 0.0) for c, value in enumerate(p)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(4, 17), st.integers(4, 17)),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.booleans(),
)
def test_fusion_mixes_each_cell_with_the_label_where_it_lies(seed, cells, pixels, alpha, aligned):
    draws = torch.Generator().manual_seed(seed)
    p = torch.rand(2, 3, *cells, generator=draws).softmax(dim=1)
    labels = torch.tensor([0, 1, 2, IGNORE])[torch.randint(0, 4, (2, *pixels), generator=draws)]
    fused = fuse(probabilities=p, labels=labels, alpha=alpha, aligned=aligned)
    for n in range(2):
        for i in range(cells[0]):
            for j in range(cells[1]):
                candidates = {
                    int(labels[n, y, x])
                    for y in nearest(i, cells[0], pixels[0], aligned)
                    for x in nearest(j, cells[1], pixels[1], aligned)
                }
                before, after = p[n, :, i, j].tolist(), fused[n, :, i, j].tolist()
                expected = [fused_cell(before, label, alpha) for label in candidates]
                assert any(after == pytest.approx(values, abs=1e-6) for values in expected)


@pytest.mark.parametrize(("aligned", "cells"), [(True, (9, 13)), (False, (8, 12)), (True, (5, 7)), (False, (4, 6))])
def test_prediction_and_label_of_a_ramp_agree_at_every_position(aligned, cells):
    """Class k is column k (row k): a perfect prediction at the cells, upsampled, is the ramp that the labels are."""
    height, width = 64, 96
    for axis, labels in (
        (2, torch.arange(width).expand(1, height, width)),
        (1, torch.arange(height)[None, :, None].expand(1, height, width)),
    ):
        shown = fuse(probabilities=torch.rand(1, width, *cells), labels=labels, alpha=0.0, aligned=aligned)
        ramp = shown.argmax(dim=1, keepdim=True).float()
        found = upsample(ramp, (height, width), aligned)[0, 0]
        inner = (
            slice(None)
            if aligned
            else slice(labels.shape[axis] // cells[axis - 1], -labels.shape[axis] // cells[axis - 1])
        )
        apart = (found - labels[0]).abs().movedim(axis - 1, 0)[inner]
        assert apart.max() <= 0.5


def test_the_fusion_of_a_cell_is_the_number_computed_by_hand():
    p = torch.tensor([0.2, 0.5, 0.3]).reshape(1, 3, 1, 1)
    fused = fuse(probabilities=p, labels=torch.tensor([[[2]]]), alpha=0.25, aligned=True)
    assert fused.flatten().tolist() == pytest.approx([0.05, 0.125, 0.825])


def test_fused_probabilities_still_sum_to_one():
    p = torch.randn(2, 4, 3, 3).softmax(dim=1)
    labels = torch.tensor([0, 3, IGNORE])[torch.randint(0, 3, (2, 3, 3))]
    assert torch.allclose(fuse(probabilities=p, labels=labels, alpha=0.5, aligned=True).sum(dim=1), torch.ones(2, 3, 3))


def test_without_any_label_the_fusion_is_the_prediction_itself():
    p = torch.randn(1, 4, 3, 3).softmax(dim=1)
    assert torch.equal(fuse(probabilities=p, labels=torch.full((1, 9, 9), IGNORE), alpha=0.5, aligned=True), p)


def test_the_fusion_carries_no_gradient_and_leaves_the_prediction_untouched():
    p = torch.randn(1, 4, 3, 3).softmax(dim=1).requires_grad_()
    before = p.detach().clone()
    fused = fuse(probabilities=p, labels=torch.zeros(1, 6, 6, dtype=torch.long), alpha=0.5, aligned=True)
    assert not fused.requires_grad
    assert torch.equal(p, before)
