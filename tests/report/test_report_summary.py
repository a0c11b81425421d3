import pytest

from loopda.report.summary import Cell, Difference, change, shown
from loopda.report.text_table import aligned


@pytest.mark.parametrize(
    ("cell", "plain", "with_sign"),
    [
        (Cell(38.74, None, 1), "38.7", "+38.7"),
        (Cell(38.74, 0.55, 3), "38.7 ± 0.6", "+38.7 ± 0.6"),
        (Cell(-2.04, None, 1), "\N{MINUS SIGN}2.0", "\N{MINUS SIGN}2.0"),
        (Cell(-0.04, None, 1), "0.0", "0.0"),
        (None, "\N{EN DASH}", "\N{EN DASH}"),
        (Difference(9.0, 1.0, 3, (6.52, 11.48)), "9.0 [6.5, 11.5]", "+9.0 [6.5, 11.5]"),
        (
            Difference(1.0, 2.0, 2, (-3.04, 5.0), 1),
            "1.0 [\N{MINUS SIGN}3.0, 5.0], 2 seeds",
            "+1.0 [\N{MINUS SIGN}3.0, 5.0], 2 seeds",
        ),
        (Difference(9.0, None, 1), "9.0", "+9.0"),
        (Difference(9.0, None, 1, None, 2), "9.0, 1 seed", "+9.0, 1 seed"),
    ],
)
def test_a_score_is_written_with_one_decimal_and_its_deviation(cell, plain, with_sign):
    assert shown(cell) == plain
    assert shown(cell, signed=True) == with_sign


def test_columns_are_aligned_to_the_left_first_and_to_the_right_after():
    assert aligned([["stage", "mIoU"], ["a", "1.0"], ["longer", "100.0"]]) == (
        "stage    mIoU\na         1.0\nlonger  100.0"
    )


# quantiles of Student's t for 95 %, from a printed table: degrees of freedom -> t(0.975)
T = {1: 12.706, 2: 4.303, 4: 2.776}


class Scored:
    """As much of an evaluation as a difference reads: the mean IoU at night."""

    def __init__(self, seed, value):
        self.seed, self.domains = seed, {} if value is None else {"night": value}


def difference(after, before):
    scored = [[Scored(seed, value) for seed, value in enumerate(values)] for values in (after, before)]
    return change(*scored, "night", lambda value: value)


@pytest.mark.parametrize(
    ("after", "before", "mean", "deviation"),
    [
        ((30, 32, 37), (20, 24, 28), 9.0, 1.0),  # 10, 8, 9
        ((30, 32), (20, 24), 9.0, 2**0.5),
        ((21, 22, 23, 24, 30), (20, 20, 20, 20, 20), 4.0, 12.5**0.5),  # 1, 2, 3, 4, 10: squares 9 + 4 + 1 + 0 + 36
    ],
)
def test_the_interval_of_a_difference_is_student_s_t_over_the_pairs_computed_by_hand(after, before, mean, deviation):
    found = difference(after, before)
    half = T[len(after) - 1] * deviation / len(after) ** 0.5
    assert (found.mean, found.std, found.seeds) == pytest.approx((mean, deviation, len(after)))
    assert found.interval == pytest.approx((mean - half, mean + half), abs=2e-3)
    assert found.unpaired == 0


def test_a_difference_pairs_the_seeds_that_both_models_have_and_counts_the_others():
    found = difference((None, 30, 32, 37), (9, 20, 24, None))
    assert (found.mean, found.seeds, found.unpaired) == (9.0, 2, 2)
    assert found.text(signed=True).endswith(", 2 seeds")


def test_one_pair_has_no_interval_and_none_no_difference():
    assert difference((30,), (20,)) == Difference(10.0, None, 1, None)
    assert difference((30, None), (None, 20)) is None


@pytest.mark.filterwarnings("error")
def test_equal_differences_have_an_interval_that_is_a_point():
    assert difference((3.0, 4.0, 5.0), (2.0, 3.0, 4.0)).interval == (1.0, 1.0)
