from dataclasses import replace
from pathlib import Path

import pytest

from loopda.data.layouts.table import TableLayout, write_table
from loopda.data.manifest import Row
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES

ONE_KIND = replace(CITYSCAPES, encodings={"ids": CITYSCAPES.encodings["labelTrainIds"]})


def rows(table, classes, *, labelled, encoding=None):
    return TableLayout(layout="table", csv=table, encoding=encoding).rows(classes, labelled=labelled)


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "mine.csv").write_text(text)
        return tmp_path / "mine.csv"

    return write


def test_relative_paths_are_relative_to_the_table_and_absolute_ones_stay(table, tmp_path):
    path = table("image,label,reference\nimages/a.jpg,/labels/a.png,\nb.jpg,,ref/b.jpg\n")
    first, second = rows(path, ONE_KIND, labelled=True)
    assert (first.image, first.label) == (tmp_path / "images/a.jpg", Path("/labels/a.png"))
    assert (first.reference, first.encoding) == (None, "ids")
    assert (second.image, second.label, second.encoding) == (tmp_path / "b.jpg", None, "")
    assert second.reference == tmp_path / "ref/b.jpg"


@pytest.mark.fault(51, "a table whose paths start from the working directory: one line says where they start")
def test_a_table_of_paths_from_the_working_directory_is_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "lists/night.csv").write_text("image\na.png\n")
    with pytest.raises(DataError, match=r"^lists/night.csv: .* there is no a.png; .*: write \.\./a.png, or move"):
        rows(Path("lists/night.csv"), CITYSCAPES, labelled=False)


def test_the_columns_label_and_reference_may_be_left_out(table):
    [row] = rows(table("image\na.png\n"), CITYSCAPES, labelled=False)
    assert (row.label, row.reference) == (None, None)


def test_the_end_of_a_label_name_decides_where_the_class_list_knows_two_kinds(table):
    path = table("image,label\na.png,a_gtFine_labelIds.png\nb.png,b_labelTrainIds.png\n")
    assert [row.encoding for row in rows(path, CITYSCAPES, labelled=True)] == ["labelIds", "labelTrainIds"]


def test_a_label_name_that_does_not_tell_is_a_fault_unless_the_encoding_is_given(table):
    path = table("image,label\na.png,a.png_labelIds_small.png\nb.png,b_mylabelIds.png\n")
    with pytest.raises(DataError, match="add `encoding: labelIds or labelTrainIds or synthia or colours`") as caught:
        rows(path, CITYSCAPES, labelled=True)
    assert len(str(caught.value).splitlines()) == 2
    found = rows(path, CITYSCAPES, labelled=True, encoding="labelTrainIds")
    assert {row.encoding for row in found} == {"labelTrainIds"}


@pytest.mark.fault(65, "the names of files do not matter where the encoding is stated")
def test_a_stated_encoding_counts_whatever_the_names_of_the_files_say(table):
    path = table("image,label\na.png,a_labelTrainIds.png\n")
    assert [row.encoding for row in rows(path, CITYSCAPES, labelled=True, encoding="labelIds")] == ["labelIds"]
    assert [row.encoding for row in rows(path, CITYSCAPES, labelled=True)] == ["labelTrainIds"]


@pytest.mark.fault(65, "without a stated encoding a name that the class list contradicts is refused")
def test_a_name_that_says_another_kind_than_the_class_list_has_is_a_fault_unless_the_encoding_is_given(table):
    alone = replace(CITYSCAPES, encodings={"labelIds": CITYSCAPES.encodings["labelIds"]})
    path = table("image,label\na.png,a_labelTrainIds.png\n")
    with pytest.raises(DataError, match="its name says that its values are labelTrainIds"):
        rows(path, alone, labelled=True)
    assert [row.encoding for row in rows(path, alone, labelled=True, encoding="labelIds")] == ["labelIds"]
    own = replace(alone, encodings={"ids": alone.encodings["labelIds"]})
    assert [row.encoding for row in rows(path, own, labelled=True)] == ["ids"]


def test_labels_that_nobody_reads_need_no_encoding(table):
    [row] = rows(table("image,label\na.png,a_mask.png\n"), CITYSCAPES, labelled=False)
    assert (row.label.name, row.encoding) == ("a_mask.png", "")


def test_an_encoding_the_class_list_does_not_know_is_a_config_error(table):
    with pytest.raises(ConfigError, match="no label encoding 'rgb'"):
        rows(table("image\na.png\n"), CITYSCAPES, labelled=True, encoding="rgb")


def test_every_line_at_fault_is_named_by_its_number(table):
    path = table("image,label,reference\n,b.png,\na.png,\nc.png,c_labelIds.png,\n  ,,\n")
    with pytest.raises(DataError) as caught:
        rows(path, CITYSCAPES, labelled=True)
    text = str(caught.value)
    assert [number for number in range(1, 7) if f"mine.csv, line {number}: " in text] == [2, 3, 5]


def test_a_missing_or_empty_table_is_a_data_error_that_names_it(table, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such table"):
        rows(tmp_path / "none.csv", CITYSCAPES, labelled=True)
    with pytest.raises(DataError, match=r"mine\.csv: no rows"):
        rows(table("image,label,reference\n"), CITYSCAPES, labelled=True)


def test_a_written_table_reads_back_as_the_same_files_from_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = [Row(Path("night/a.png"), None, Path("day/b.png")), Row(Path("/night/c.png"), Path("c_labelIds.png"))]
    write_table(Path("results/pair/pairs.csv"), written)
    found = rows(Path("results/pair/pairs.csv"), CITYSCAPES, labelled=False)
    assert [row.image.resolve() for row in found] == [tmp_path / "night/a.png", Path("/night/c.png")]
    assert found[0].reference.resolve() == tmp_path / "day/b.png"
    assert (found[0].label, found[1].reference) == (None, None)
    assert found[1].label.resolve() == tmp_path / "c_labelIds.png"
    assert str(tmp_path) not in Path("results/pair/pairs.csv").read_text()


@pytest.mark.fault(51, "a table in a folder of links leads to its files")
def test_a_table_in_a_linked_folder_leads_to_its_files_and_is_read_through_a_link_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("night/a.png", "day/b.png"):
        Path(name).parent.mkdir()
        Path(name).touch()
    Path("disk/deep/results").mkdir(parents=True)
    Path("results").symlink_to(tmp_path / "disk/deep/results")
    write_table(Path("results/pair/pairs.csv"), [Row(Path("night/a.png"), None, Path("day/b.png"))])
    [row] = rows(Path("results/pair/pairs.csv"), CITYSCAPES, labelled=False)
    assert row.image.samefile("night/a.png")
    assert row.reference.samefile("day/b.png")
    Path("mine.csv").symlink_to(tmp_path / "results/pair/pairs.csv")
    [row] = rows(Path("mine.csv"), CITYSCAPES, labelled=False)
    assert row.image.samefile("night/a.png")


@pytest.mark.fault(52, "backslashes, variables and other letters are read as they are meant, or named by their line")
def test_paths_of_other_systems_are_read_and_those_that_cannot_be_are_named_by_their_lines(
    table, tmp_path, monkeypatch
):
    (tmp_path / "night").mkdir()
    (tmp_path / "night/a.PNG").touch()
    monkeypatch.setenv("PART", "night")
    monkeypatch.delenv("NOTHING", raising=False)
    found = rows(table("IMAGE; Label\nnight\\a.png;\n$PART/a.PNG;\n"), CITYSCAPES, labelled=False)
    assert {row.image for row in found} == {tmp_path / "night/a.PNG"}
    with pytest.raises(DataError) as caught:
        rows(table("image\n$NOTHING/a.png\nC:\\night\\a.png\n"), CITYSCAPES, labelled=False)
    first, second = str(caught.value).splitlines()
    assert "mine.csv, line 2: $NOTHING/a.png: the environment has no variable NOTHING" in first
    assert "mine.csv, line 3: C:\\night\\a.png: a path of a Windows machine" in second


@pytest.mark.fault(53, "a table of another tree: one line says so; where some files are there, the others are named")
def test_a_table_of_another_tree_is_one_line(table, tmp_path):
    lines = [f"elsewhere/{number}.png" for number in range(40)]
    with pytest.raises(DataError) as caught:
        rows(table("\n".join(["image", *lines])), CITYSCAPES, labelled=False)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/mine.csv: of the 40 files that it names 40 are not there, such as {tmp_path}")
    assert "and 37 more: it belongs to another tree; correct `csv`" in line
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError) as caught:
        rows(table("\n".join(["image", "a.png", *lines])), CITYSCAPES, labelled=False)
    assert len(str(caught.value).splitlines()) == 1 + 40


def test_a_field_too_many_says_how_a_comma_is_written(table):
    with pytest.raises(
        DataError, match="line 2: 2 fields, but the header names 1; put a path with commas in it in quo"
    ):
        rows(table("image\na,b.png\n"), CITYSCAPES, labelled=False)


def test_scripts_outside_of_the_package_find_write_table_where_it_was():
    from loopda.data.table import write_table as known

    assert known is write_table
