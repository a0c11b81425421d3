import pytest

from loopda.report.words import decimal, listed, seed_list, share, short_count


def test_a_change_is_written_with_its_sign_unless_it_rounds_to_nothing():
    assert [decimal(value, signed=True) for value in (1.26, -1.26, 0.04, -0.04)] == [
        "+1.3",
        "\N{MINUS SIGN}1.3",
        "0.0",
        "0.0",
    ]


def test_lists_read_like_a_sentence():
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [seed_list(seeds) for seeds in ([2, 0, 2], [1], [None])] == ["seeds 0 and 2", "seed 1", ""]


def test_large_counts_are_shortened():
    assert [short_count(number) for number in (10, 912_345, 44_548_160)] == [
        "10",
        "912 thousand",
        "44.5 million",
    ]


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(0, 9, "absent"), (1, 3000, "< 0.1 %"), (1, 2000, "0.1 %"), (1, 8, "12.5 %")]
)
def test_a_share_that_rounds_to_nothing_differs_from_none(part, whole, expected):
    assert share(part, whole) == expected
