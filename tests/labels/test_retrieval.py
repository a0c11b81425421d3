import pytest
import torch

from loopda.labels.agreement import all_overlap_ratios
from loopda.labels.retrieval import rank

ROAD, POLE = 0, 5
GROUPS = [frozenset({POLE})]


def poles(*places):
    """A label map of 1 x 8 pixels with poles at `places`, road elsewhere."""
    return torch.tensor([[POLE if x in places else ROAD for x in range(8)]], dtype=torch.uint8)


def test_the_day_map_with_the_largest_overlap_comes_first():
    night = torch.stack([poles(0, 1), poles(6)])
    day = torch.stack([poles(6, 7), poles(0, 1), poles(1, 2)])
    found = rank(night=night, day=day, groups=GROUPS, best=2)
    assert found.day.tolist() == [[1, 2], [0, 1]]
    assert found.lor.tolist() == [[1.0, 0.5], [pytest.approx(2 / 3), 0.0]]


@pytest.mark.parametrize("block", [1, 2, 256])
def test_of_equal_overlaps_the_first_day_map_wins_whatever_the_block(block):
    day = torch.stack([poles(7), poles(0), poles(0), poles(0, 1), poles(0)])
    found = rank(night=poles(0)[None], day=day, groups=GROUPS, best=3, block=block)
    assert found.day.tolist() == [[1, 2, 4]]
    assert found.lor.tolist() == [[1.0, 1.0, 1.0]]


def test_a_night_map_without_any_class_of_the_groups_overlaps_with_none():
    found = rank(night=poles()[None], day=torch.stack([poles(), poles(1)]), groups=GROUPS, best=5)
    assert found.lor.tolist() == [[0.0, 0.0]]


def test_fewer_day_maps_than_are_asked_for_are_all_ranked():
    found = rank(night=poles(0)[None], day=poles(0)[None], groups=GROUPS, best=5)
    assert (found.day.tolist(), found.lor.tolist()) == ([[0]], [[1.0]])


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_rank_as_the_whole_matrix_of_ratios_does(block):
    draws = torch.Generator().manual_seed(0)
    night, day = (torch.randint(0, 6, (count, 4, 5), generator=draws).to(torch.uint8) for count in (7, 11))
    groups = [frozenset({label}) for label in range(5)]
    found = rank(night=night, day=day, groups=groups, best=4, block=block)
    ratios, order = all_overlap_ratios(night=night, day=day, groups=groups).sort(dim=1, descending=True, stable=True)
    assert torch.equal(found.day, order[:, :4])
    assert torch.equal(found.lor, ratios[:, :4])
