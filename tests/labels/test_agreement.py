import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.config import parse_section
from loopda.errors import ConfigError
from loopda.labels.agreement import (
    Agreement,
    all_overlap_ratios,
    day_night_agreement,
    keep_classes,
    label_overlap_ratio,
    membership,
    online_label,
    static_label,
)

# the sets of section 3.2 by train id
STATIC = range(0, 11)
DYNAMIC = range(11, 19)
SSC = (5, 6, 7)
IGNORE = 255
ROAD, BUILDING, POLE, LIGHT, SIGN, SKY, PERSON, CAR = 0, 2, 5, 6, 7, 10, 11, 13


def naive_lor(night, reference):
    """Equation 9 of one pair of label maps, given as lists of rows."""
    both, either = 0, 0
    for row_n, row_ud in zip(night, reference, strict=True):
        for l_n, l_ud in zip(row_n, row_ud, strict=True):
            both += int(l_n in SSC) * int(l_ud in SSC)
            either += int(l_n in SSC) + int(l_ud in SSC)
    return 2 * both / either if either else 0.0  # the limitations: without SSC the static label is dismissed


def naive_online(night, reference, tau):
    """The online label of one pair: the text around equation 9, pixel by pixel."""
    static = [
        [l_ud if l_n in STATIC and l_ud in STATIC else IGNORE for l_n, l_ud in zip(row_n, row_ud, strict=True)]
        for row_n, row_ud in zip(night, reference, strict=True)
    ]
    agreement = [
        [y if y == l_n else IGNORE for y, l_n in zip(row_y, row_n, strict=True)]
        for row_y, row_n in zip(static, night, strict=True)
    ]
    return static if naive_lor(night, reference) >= tau else agreement


def online(night, reference, tau):
    return online_label(
        night=torch.as_tensor(night), reference=torch.as_tensor(reference), dynamic=DYNAMIC, ssc=SSC, tau=tau
    )


@st.composite
def pairs(draw):
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    classes = torch.tensor(draw(st.sampled_from([[*range(19)], [5, 6, 7, 0, 13], [0, 2, 11], [5, 7]])))
    maps = [classes[torch.randint(0, len(classes), shape, generator=draws)] for _ in range(2)]
    agreeing = torch.rand(shape, generator=draws) < draw(st.sampled_from([0.0, 0.5, 0.9]))
    return maps[0], torch.where(agreeing, maps[0], maps[1])


@settings(max_examples=80, deadline=None)
@given(pairs(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_each_pair_of_a_batch_gets_the_online_label_of_the_paper(pair, tau):
    night, reference = pair
    result = online(night, reference, tau)
    for n in range(len(night)):
        rows = night[n].tolist(), reference[n].tolist()
        assert result.label[n].tolist() == naive_online(*rows, tau)
        assert float(result.lor[n]) == pytest.approx(naive_lor(*rows), abs=1e-6)
        assert bool(result.static[n]) == (naive_lor(*rows) >= tau)


@settings(max_examples=30, deadline=None)
@given(pairs())
def test_the_agreement_is_a_part_of_the_static_label(pair):
    night, reference = pair
    static = static_label(night=night, reference=reference, dynamic=DYNAMIC)
    agreement = day_night_agreement(night=night, static=static)
    kept = agreement != IGNORE
    assert torch.equal(agreement[kept], static[kept])
    assert torch.equal(agreement[kept], night[kept])
    assert torch.equal(kept, (static == night))


def test_the_static_label_is_the_references_where_neither_prediction_is_dynamic():
    night = torch.tensor([[[ROAD, ROAD, CAR, SKY, PERSON]]])
    reference = torch.tensor([[[BUILDING, CAR, ROAD, SKY, CAR]]])
    static = static_label(night=night, reference=reference, dynamic=DYNAMIC)
    assert static.tolist() == [[[BUILDING, IGNORE, IGNORE, SKY, IGNORE]]]
    agreement = day_night_agreement(night=night, static=static)
    assert agreement.tolist() == [[[IGNORE, IGNORE, IGNORE, SKY, IGNORE]]]


def test_pixels_without_a_label_are_in_no_class_set_and_give_no_static_label():
    void = torch.tensor([[[IGNORE, ROAD, IGNORE]]])
    road = torch.tensor([[[ROAD, IGNORE, IGNORE]]])
    assert static_label(night=void, reference=road, dynamic=DYNAMIC).tolist() == [[[IGNORE] * 3]]
    assert not membership(void, range(1, 19)).any()


def test_the_overlap_ratio_of_a_small_map_is_the_number_computed_by_hand():
    night = torch.tensor([[[POLE, POLE, SIGN, ROAD]]])
    reference = torch.tensor([[[POLE, ROAD, ROAD, LIGHT]]])
    # |A| = 3, |B| = 2, |A and B| = 1
    assert label_overlap_ratio(night=night, reference=reference, ssc=SSC).tolist() == pytest.approx([0.4])


def test_the_overlap_counts_any_shift_sensitive_class_not_each_by_itself():
    night, reference = torch.tensor([[[POLE, SIGN]]]), torch.tensor([[[LIGHT, POLE]]])
    assert label_overlap_ratio(night=night, reference=reference, ssc=SSC).tolist() == [1.0]


def test_an_overlap_ratio_equal_to_tau_takes_the_static_label():
    night = [[[POLE, POLE, POLE, ROAD]]]
    reference = [[[POLE, ROAD, ROAD, SKY]]]  # |A| = 3, |B| = 1, |A and B| = 1: exactly 1/2
    at, above = online(night, reference, 0.5), online(night, reference, 0.5001)
    assert at.lor.tolist() == [0.5]
    assert at.label.tolist() == reference
    assert above.label.tolist() == [[[POLE, IGNORE, IGNORE, IGNORE]]]


def test_a_pair_without_shift_sensitive_pixels_takes_the_agreement():
    night, reference = [[[ROAD, SKY, CAR]]], [[[ROAD, BUILDING, ROAD]]]
    result = online(night, reference, 0.5)
    assert result.lor.tolist() == [0.0]
    assert result.label.tolist() == [[[ROAD, IGNORE, IGNORE]]]


@pytest.mark.parametrize("swapped", [False, True])
def test_shift_sensitive_pixels_in_only_one_of_the_predictions_give_the_ratio_zero(swapped):
    maps = torch.tensor([[[POLE, SIGN, ROAD]]]), torch.tensor([[[ROAD, ROAD, ROAD]]])
    night, reference = reversed(maps) if swapped else maps
    result = online(night, reference, 0.01)
    assert result.lor.tolist() == [0.0]
    assert result.label.tolist() == [[[IGNORE, IGNORE, ROAD]]]


def test_tau_zero_always_takes_the_static_label_even_without_shift_sensitive_pixels():
    night, reference = [[[ROAD, SKY]], [[POLE, ROAD]]], [[[BUILDING, SKY]], [[ROAD, SIGN]]]
    result = online(night, reference, 0.0)
    assert result.label.tolist() == reference
    assert result.static.tolist() == [True, True]


def test_tau_one_takes_the_static_label_only_when_the_shift_sensitive_pixels_coincide():
    night = [[[POLE, SIGN, ROAD]], [[POLE, SIGN, ROAD]]]
    reference = [[[SIGN, LIGHT, SKY]], [[POLE, ROAD, SKY]]]
    result = online(night, reference, 1.0)
    assert result.static.tolist() == [True, False]
    assert result.label.tolist() == [[[SIGN, LIGHT, SKY]], [[POLE, IGNORE, IGNORE]]]


def test_the_choice_is_made_for_each_pair_not_for_the_batch():
    # the ratio of the batch as a whole would be 2 * 4 / (4 + 6) = 0.8: both pairs would get the static label
    night = [[[POLE, POLE, POLE, POLE]], [[ROAD, ROAD, ROAD, SKY]]]
    reference = [[[SIGN, POLE, POLE, POLE]], [[POLE, POLE, ROAD, ROAD]]]
    result = online(night, reference, 0.5)
    assert result.lor.tolist() == [1.0, 0.0]
    assert result.label.tolist() == [reference[0], [[IGNORE, IGNORE, ROAD, IGNORE]]]


def test_online_labels_keep_the_integer_type_and_leave_the_predictions_untouched():
    night, reference = torch.tensor([[[POLE, CAR]]]), torch.tensor([[[SIGN, ROAD]]])
    label = online(night, reference, 0.5).label
    assert label.dtype == torch.int64
    assert (night.tolist(), reference.tolist()) == ([[[POLE, CAR]]], [[[SIGN, ROAD]]])


def test_the_offline_label_keeps_dynamic_and_shift_sensitive_classes():
    labels = torch.tensor([[*range(19), IGNORE]])
    kept = keep_classes(labels, {*DYNAMIC, *SSC})
    assert kept.tolist() == [[c if c >= 11 or c in SSC else IGNORE for c in [*range(19), IGNORE]]]


@pytest.mark.parametrize("tau", [-0.1, 1.1, "0.5", None])
def test_a_tau_outside_zero_and_one_is_refused(tau):
    with pytest.raises(ConfigError, match="tau"):
        parse_section({"tau": tau}, Agreement, "agreement")


@settings(max_examples=40)
@given(pairs(), pairs())
def test_the_ratios_of_all_pairs_are_those_of_each_pair_by_itself(first, second):
    night, day = first[0], second[1][:, : first[0].shape[1], : first[0].shape[2]]
    night = night[:, : day.shape[1], : day.shape[2]]
    ratios = all_overlap_ratios(night=night, day=day, groups=[SSC])
    assert ratios.shape == (len(night), len(day))
    for n in range(len(night)):
        alike = label_overlap_ratio(night=night[n].expand_as(day), reference=day, ssc=SSC)
        assert torch.equal(ratios[n], alike)
        assert ratios[n].tolist() == pytest.approx([naive_lor(night[n].tolist(), label.tolist()) for label in day])


def test_the_ratio_of_several_groups_is_their_mean_and_an_absent_group_counts_as_zero():
    night = torch.tensor([[[ROAD, ROAD, SKY, CAR]]])
    day = torch.tensor([[[ROAD, SKY, SKY, CAR]], [[IGNORE, IGNORE, IGNORE, CAR]]])
    ratios = all_overlap_ratios(night=night, day=day, groups=[[ROAD], [SKY], [POLE]])
    # road 2 * 1 / (2 + 1), sky 2 * 1 / (1 + 2), pole 0
    assert ratios.tolist() == [[pytest.approx(4 / 9), 0.0]]
