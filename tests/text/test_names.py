"""Names of files: bounded, storable, and shown to people whatever is in them."""

import os
from pathlib import Path

import pytest

from loopda.text.names import bounded, faults_of_names, printable

NOT_UTF8 = os.fsdecode(b"Z\xfcrich.png")


@pytest.mark.parametrize("name", ["night", "ü" * 100, "n" * 200])
def test_a_name_that_is_short_enough_stays_as_it_is(name):
    assert bounded(name) == name


@pytest.mark.parametrize("name", ["n" * 201, "ü" * 101, "夜" * 90, os.fsdecode(b"\xfc" * 230)], ids=len)
@pytest.mark.fault(74, "a longer name is cut, by its bytes and not its letters, and ends in a digest")
def test_a_longer_name_is_cut_by_bytes_and_differs_from_another_with_the_same_beginning(name):
    cut, other = bounded(name), bounded(f"{name}x")
    assert len(os.fsencode(cut)) <= 200
    assert cut != other
    assert cut.encode().decode() == cut, "no letter is cut in halves"


@pytest.mark.fault(78, "the name is said with its bytes escaped, and how to rename it")
def test_names_that_are_not_utf8_are_one_line_with_three_examples_and_the_remedy():
    paths = [Path(f"{number}{NOT_UTF8}") for number in range(5)]
    (fault,) = faults_of_names([*paths, Path("dä/night.png")])
    assert fault.startswith(
        r"0Z\xfcrich.png, 1Z\xfcrich.png, 2Z\xfcrich.png and 2 more: a name that is not UTF-8; rename"
    )
    assert "convmv" in fault


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb.png", r"a\nb.png"), ("\x1b[2J.png", r"\x1b[2J.png"), ("a\u2028.png", r"a\u2028.png")]
)
@pytest.mark.fault(79, "the name is refused, with the character escaped")
def test_a_name_with_a_control_character_is_a_fault_and_shown_on_one_line(name, shown):
    assert faults_of_names([Path(name)]) == [f"{shown}: a name with a line break or another control character; rename"]


def test_a_blank_at_an_end_of_a_path_which_tables_drop_is_a_fault():
    assert faults_of_names([Path(" d/a.png"), Path("d/ a.png")]) == [
        " d/a.png: a name with a blank at the end of the path; rename"
    ]


def test_what_people_can_read_is_shown_as_it_is():
    assert printable("Zürich 夜 … ±") == "Zürich 夜 … ±"
