import public_trees as trees
import pytest

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts.nighttime_driving import NighttimeDrivingLayout
from loopda.data.manifest import Row
from loopda.data.skipped import collect_skipped
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES


def checked(rows: list[Row], *, labelled: bool = True) -> Checked:
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1)


def rows_of(root, names=None):
    layout = NighttimeDrivingLayout(layout="nighttime_driving", root=root, names=names)
    return layout.rows(CITYSCAPES, labelled=True)


def test_nighttime_driving_is_sorted_by_name_and_its_label_ids_come_first(tmp_path):
    rows = rows_of(trees.nighttime_driving(tmp_path))
    assert [row.image.name.split("_left")[0] for row in rows] == [
        "01_frame_0906",
        "01_frame_1088",
        "0_frame_0250",
        "0_frame_0374",
        "0_frame_1738",
    ]
    assert {row.encoding for row in rows} == {"labelIds"}
    assert {row.reference for row in rows} == {None}


def test_a_list_of_names_gives_the_images_and_their_order_whatever_folders_it_names(tmp_path):
    root = trees.nighttime_driving(tmp_path)
    names = tmp_path / "mine.txt"
    names.write_text("0_frame_1738_leftImg8bit.png\n\ntest/night/0_frame_0250_leftImg8bit.png\n")
    rows = rows_of(root, names)
    assert [row.image.name for row in rows] == ["0_frame_1738_leftImg8bit.png", "0_frame_0250_leftImg8bit.png"]
    assert checked(rows).faults == []


@pytest.mark.fault(54, "LoopDA's nd_val.txt: each image once, and the log says so")
def test_a_list_that_names_each_image_twice_is_taken_once_and_says_so(tmp_path):
    root = trees.nighttime_driving(tmp_path)
    images = sorted((root / "leftImg8bit/test/night").iterdir())
    names = tmp_path / "nd_val.txt"  # of LoopDA's code: all names, then all again
    names.write_text(2 * "".join(f"{image.name}\n" for image in images))
    with collect_skipped() as left_out:
        rows = rows_of(root, names)
    assert [row.image for row in rows] == images
    assert checked(rows).faults == []
    [line] = left_out.lines()
    assert line.startswith("5 left out, repeated in nd_val.txt, which is taken once: line 6, 01_frame_0906")


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "no names in it"), ("a.png\n0_frame_0250_leftImg8bit.png\nb.png\n", "line 1: 'a.png' does not end in")],
)
def test_a_list_that_holds_no_names_of_images_is_a_data_error_that_names_it(tmp_path, text, fault):
    names = tmp_path / "mine.txt"
    names.write_text(text)
    with pytest.raises(DataError, match=f"mine.txt.*{fault}") as caught:
        rows_of(trees.nighttime_driving(tmp_path), names)
    assert ("line 3" in str(caught.value)) == bool(text)


def test_a_missing_list_is_a_data_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="none.txt: no such list of names"):
        rows_of(tmp_path, tmp_path / "none.txt")
