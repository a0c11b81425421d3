"""The script that measures the online labels, on maps whose figures are counted by hand."""

import pytest
import torch

from loopda.labels.classes import CITYSCAPES

ROAD, POLE, SKY, CAR = (CITYSCAPES.names.index(name) for name in ("road", "pole", "sky", "car"))


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("measure_agreement")


def test_shares_are_those_counted_by_hand(script):
    # two pairs of eight pixels; the poles of the first overlap by 2 of 1 + 1, those of the second by 0
    night = torch.tensor([[ROAD, ROAD, SKY, POLE, CAR, ROAD, ROAD, SKY], [ROAD, ROAD, ROAD, POLE, SKY, SKY, CAR, CAR]])
    reference = torch.tensor([[ROAD, SKY, SKY, POLE, ROAD, SKY, CAR, SKY], [ROAD, SKY, SKY, SKY, SKY, SKY, SKY, CAR]])
    truth = torch.tensor([[ROAD, SKY, SKY, ROAD, CAR, ROAD, 255, SKY], [ROAD, SKY, 255, POLE, SKY, ROAD, ROAD, CAR]])
    measured = script.measure(night[:, None], reference[:, None], truth[:, None], CITYSCAPES)
    assert measured["pairs"] == 2
    assert measured["lor"] == pytest.approx(0.5)
    by_tau = {row["tau"]: row for row in measured["online"]}
    # the static label: pixels 0 1 2 3 5 7 of the first, right in 0 1 2 7; 0 1 2 3 4 5 of the second, right in 0 1 4
    assert by_tau[0.0]["labelled"] == pytest.approx(100 * 12 / 16)
    assert by_tau[0.0]["right"] == pytest.approx(100 * 7 / 11)
    # from here on the second takes the agreement: pixels 0 4 5, right in 0 4
    for tau in (0.02, 0.75):
        assert by_tau[tau]["pairs_with_static_label"] == pytest.approx(50)
        assert by_tau[tau]["labelled"] == pytest.approx(100 * 9 / 16)
        assert by_tau[tau]["right"] == pytest.approx(100 * 6 / 9)
    # the agreement of both: 0 2 3 7 of the first, right in 0 2 7
    assert by_tau[1.01]["labelled"] == pytest.approx(100 * 7 / 16)
    assert by_tau[1.01]["right"] == pytest.approx(100 * 5 / 7)
    # left out: 1 5 of the first, 1 2 3 of the second; the truth of one is unknown
    assert measured["left_out"]["pixels"] == pytest.approx(100 * 5 / 16)
    assert measured["left_out"]["reference_right"] == pytest.approx(100 * 2 / 4)
    assert measured["left_out"]["night_right"] == pytest.approx(100 * 2 / 4)
    assert script.lines("all", measured)[0] == "all: 2 pairs, label overlap ratio 0.500 on average"


def test_of_no_pixel_there_is_no_share(script):
    maps = torch.full((1, 2, 2), CAR)
    measured = script.measure(maps, maps, maps, CITYSCAPES)
    assert measured["left_out"] == {"pixels": 0.0, "reference_right": None, "night_right": None}
    assert {row["right"] for row in measured["online"]} == {None}
