import public_trees as trees
import pytest

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts.acdc import AcdcLayout
from loopda.data.manifest import Row
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES


def checked(rows: list[Row], *, labelled: bool = True) -> Checked:
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1)


def rows_of(root, split, *, labelled, **keys):
    return AcdcLayout(layout="acdc", root=root, split=split, **keys).rows(CITYSCAPES, labelled=labelled)


@pytest.mark.parametrize("split", ["train", "val"])
def test_acdc_pairs_each_image_with_the_reference_of_its_recording_and_frame(split, tmp_path):
    rows = rows_of(trees.acdc(tmp_path, split), split, labelled=True)
    for row in rows:
        frame = row.image.name.removesuffix("_rgb_anon.png")
        assert row.reference.name == f"{frame}_rgb_ref_anon.png"
        assert row.reference.parent == tmp_path / f"rgb_anon/night/{split}_ref" / row.image.parent.name
        assert row.label.name == f"{frame}_gt_labelIds.png"
    assert [row.image.parent.name for row in rows] == ["GOPR0351"] * 3 + ["GP010376"] * 2
    assert checked(rows).faults == []


def test_acdc_shows_night_unless_another_condition_is_named(tmp_path):
    trees.acdc(tmp_path)
    trees.acdc(tmp_path, condition="fog")
    for condition, arguments in (("night", {}), ("fog", {"condition": "fog"})):
        rows = rows_of(tmp_path, "train", labelled=True, **arguments)
        assert {path.relative_to(tmp_path).parts[1] for row in rows for path in (row.image, row.label)} == {condition}


def test_a_missing_reference_of_acdc_is_a_fault_but_no_folder_of_references_is_none(tmp_path):
    trees.acdc(tmp_path)
    rows = rows_of(tmp_path, "train", labelled=False)
    rows[1].reference.unlink()
    [fault] = checked([Row(row.image, reference=row.reference) for row in rows], labelled=False).faults
    assert fault.startswith(f"reference {rows[1].reference}: no such file")
    assert str(rows[1].image) in fault
    (tmp_path / "rgb_anon/night/train_ref").rename(tmp_path / "elsewhere")
    assert {row.reference for row in rows_of(tmp_path, "train", labelled=False)} == {None}


def test_the_labels_of_acdcs_test_images_are_not_published(tmp_path):
    trees.acdc(tmp_path, "test")
    assert checked(rows_of(tmp_path, "test", labelled=False), labelled=False).faults == []
    with pytest.raises(DataError, match="none of the 5 label maps is there.* labels of the test images are not public"):
        rows_of(tmp_path, "test", labelled=True)
