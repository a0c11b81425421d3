import subprocess

import pytest

from loopda.report.sections.gallery import centres
from loopda.report.summary import Cell, aligned, shown
from loopda.report.versions import commit, versions
from loopda.report.words import listed, seed_list, short_count, signed


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


def test_a_change_is_written_with_its_sign_unless_it_rounds_to_nothing():
    assert [signed(value) for value in (1.26, -1.26, 0.04, -0.04)] == [
        "+1.3",
        "\N{MINUS SIGN}1.3",
        "0.0",
        "0.0",
    ]


def test_columns_are_aligned_to_the_left_first_and_to_the_right_after():
    assert aligned([["stage", "mIoU"], ["a", "1.0"], ["longer", "100.0"]]) == (
        "stage    mIoU\na         1.0\nlonger  100.0"
    )


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


def test_the_versions_name_this_package_and_its_libraries():
    found = versions()
    assert {"loopda", "commit", "python", "numpy", "torch"} <= set(found)
    assert all(found.values())


def test_the_commit_is_that_of_the_checkout_and_unknown_in_another_repository(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package) == "unknown"

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "--quiet", "--message", "other")
    assert commit(package) == "unknown"
    git("add", "package")
    git("commit", "--quiet", "--message", "package")
    assert commit(package) == git("rev-parse", "HEAD")[:12]
    (package / "__init__.py").write_text("changed = True\n")
    assert commit(package) == git("rev-parse", "HEAD")[:12] + "-dirty"
