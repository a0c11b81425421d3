import pytest

from loopda.report.summary import Cell, shown
from loopda.report.text_table import aligned


@pytest.mark.parametrize(
    ("cell", "plain", "with_sign"),
    [
        (Cell(38.74, None, 1), "38.7", "+38.7"),
        (Cell(38.74, 0.55, 3), "38.7 ± 0.6", "+38.7 ± 0.6"),
        (Cell(-2.04, None, 1), "\N{MINUS SIGN}2.0", "\N{MINUS SIGN}2.0"),
        (Cell(-0.04, None, 1), "0.0", "0.0"),
        (None, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_a_score_is_written_with_one_decimal_and_its_deviation(cell, plain, with_sign):
    assert shown(cell) == plain
    assert shown(cell, signed=True) == with_sign


def test_columns_are_aligned_to_the_left_first_and_to_the_right_after():
    assert aligned([["stage", "mIoU"], ["a", "1.0"], ["longer", "100.0"]]) == (
        "stage    mIoU\na         1.0\nlonger  100.0"
    )
