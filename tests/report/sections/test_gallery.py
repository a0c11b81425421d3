import pytest

from loopda.report.sections.gallery import centres


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [
        (60, 6, [5, 15, 25, 35, 45, 55]),
        (3, 6, [0, 1, 2]),
        (5, 1, [2]),
        (5, 0, []),
        (0, 4, []),
        (7, 3, [1, 3, 5]),
    ],
)
def test_the_images_of_a_gallery_are_spread_over_the_set(count, wanted, expected):
    assert centres(count, wanted) == expected
