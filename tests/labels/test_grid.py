"""Cells, pixels and regions lie where upsampling puts them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from loopda.labels.grid import coverage, nearest, positions
from loopda.models.segmenter import upsample


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(9, 70), st.booleans())
def test_a_cell_lies_where_upsampling_has_its_value(cells, pixels, aligned):
    """The pixels' own coordinates, sampled at the cells and upsampled, are the coordinates again."""
    there = positions(cells, pixels, aligned=aligned)
    found = upsample(there.view(1, 1, 1, cells), (1, pixels), aligned).flatten()
    wanted = torch.arange(pixels, dtype=torch.float64) + 0.5
    if not aligned:
        wanted = wanted.clamp(there[0], there[-1])  # beyond the outer cells there is nothing to interpolate
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_single_cell_lies_in_the_middle(aligned):
    assert positions(1, 8, aligned=aligned).tolist() == [4.0]


def test_the_cells_of_the_literatures_grid_lie_on_every_eighth_pixel_and_the_last_on_the_last():
    labels = torch.arange(65).expand(1, 1, 65)
    assert nearest(labels, (1, 9), aligned=True).flatten().tolist() == list(range(0, 65, 8))
    assert nearest(labels[..., :64], (1, 9), aligned=True).flatten()[[0, -1]].tolist() == [0, 63]


def test_cells_that_divide_the_image_are_covered_as_by_average_pooling():
    shown = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0)) > 0.5
    found = coverage(shown, (3, 5), aligned=False)
    assert torch.allclose(found, functional.avg_pool2d(shown.double(), 4))


def test_a_cell_at_the_rim_counts_what_lies_in_the_image():
    shown = torch.tensor([[True, False, False, False, False]])
    # aligned cells on pixels 0, 2 and 4, two pixels wide: 0 to 1.5, 1.5 to 3.5, 3.5 to 5
    assert coverage(shown, (1, 3), aligned=True).tolist() == [[pytest.approx(1 / 1.5), 0.0, 0.0]]
    assert coverage(torch.ones_like(shown), (1, 3), aligned=True).tolist() == [[pytest.approx(1.0)] * 3]
