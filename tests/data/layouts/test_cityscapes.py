from dataclasses import replace

import pytest
from PIL import Image

from loopda.data.checks import check_rows
from loopda.data.layouts.cityscapes import CityscapesLayout
from loopda.data.skipped import collect_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES

NAMES = ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"]


def rows(root, split, classes, *, labelled):
    layout = CityscapesLayout(layout="cityscapes", root=root, split=split)
    return layout.rows(classes, labelled=labelled)


@pytest.fixture
def root(tmp_path):
    """A tree with the published names: three images, their colour, instance and label maps."""
    for name in NAMES:
        city = name.split("_")[0]
        images, labels = tmp_path / "leftImg8bit/train" / city, tmp_path / "gtFine/train" / city
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 4)).save(images / f"{name}_leftImg8bit.png")
        Image.new("L", (8, 4), 7).save(labels / f"{name}_gtFine_labelIds.png")
        Image.new("RGBA", (8, 4)).save(labels / f"{name}_gtFine_color.png")
        Image.new("L", (8, 4)).save(labels / f"{name}_gtFine_instanceIds.png")
        (labels / f"{name}_gtFine_polygons.json").write_text("{}")
    return tmp_path


def labels_of(root, kind):
    return sorted(root.glob(f"gtFine/train/*/*_{kind}.png"))


def test_every_image_is_found_with_its_label_ids_in_the_order_of_cities_and_names(root):
    found = rows(root, "train", CITYSCAPES, labelled=True)
    assert [row.image.name for row in found] == [f"{name}_leftImg8bit.png" for name in NAMES]
    assert [row.label.name for row in found] == [f"{name}_gtFine_labelIds.png" for name in NAMES]
    assert {(row.reference, row.encoding) for row in found} == {(None, "labelIds")}
    assert check_rows(found, CITYSCAPES, labelled=True).faults == []


def test_label_ids_are_preferred_where_train_ids_were_made_besides(root):
    for path in labels_of(root, "labelIds"):
        Image.new("L", (8, 4), 0).save(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    assert {row.encoding for row in rows(root, "train", CITYSCAPES, labelled=True)} == {"labelIds"}


def test_train_ids_are_taken_where_only_these_exist_file_by_file(root):
    first = labels_of(root, "labelIds")[0]
    first.rename(first.with_name(first.name.replace("labelIds", "labelTrainIds")))
    found = rows(root, "train", CITYSCAPES, labelled=True)
    assert [row.encoding for row in found] == ["labelTrainIds", "labelIds", "labelIds"]
    assert found[0].label.name.endswith("_gtFine_labelTrainIds.png")


def test_a_missing_label_is_named_by_the_file_to_expect(root):
    missing = labels_of(root, "labelIds")[1]
    missing.unlink()
    checked = check_rows(rows(root, "train", CITYSCAPES, labelled=True), CITYSCAPES, labelled=True)
    [fault] = checked.faults
    assert fault.startswith(f"label {missing}: no such file")


def test_labels_that_are_not_needed_may_be_missing(root):
    labels_of(root, "labelIds")[1].unlink()
    found = rows(root, "train", CITYSCAPES, labelled=False)
    assert [row.label is None for row in found] == [False, True, False]


def test_hidden_files_that_archivers_leave_are_no_images(root):
    (root / "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png").write_bytes(b"junk")
    assert len(rows(root, "train", CITYSCAPES, labelled=True)) == 3


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_empty_split_is_a_data_error_that_names_its_folder(root, split):
    (root / "leftImg8bit" / split).mkdir()
    with pytest.raises(DataError, match=f"leftImg8bit/{split}: no <city>"):
        rows(root, split, CITYSCAPES, labelled=True)


def test_a_wrong_root_says_what_the_root_must_hold(tmp_path):
    with pytest.raises(DataError, match="`root` must be the folder that holds leftImg8bit/ and gtFine/"):
        rows(tmp_path / "nowhere", "train", CITYSCAPES, labelled=True)


def test_a_class_list_that_knows_train_ids_alone_takes_those_files(root):
    train_ids = replace(CITYSCAPES, encodings={"labelTrainIds": CITYSCAPES.encodings["labelTrainIds"]})
    for path in labels_of(root, "labelIds"):
        Image.new("L", (8, 4), 0).save(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    assert {row.encoding for row in rows(root, "train", train_ids, labelled=True)} == {"labelTrainIds"}


def test_a_class_list_that_knows_neither_kind_of_label_is_a_config_error_with_the_remedy(root):
    other = replace(CITYSCAPES, encodings={"ids": CITYSCAPES.encodings["labelIds"]})
    with pytest.raises(ConfigError, match="encoding: labelIds"):
        rows(root, "train", other, labelled=True)


@pytest.mark.fault(49, "images outside of the split, its cities or the naming are said")
def test_images_that_no_split_or_city_holds_and_labels_without_an_image_are_said(root):
    images, labels = root / "leftImg8bit", root / "gtFine"
    strays = {
        "in none of the folders": images / "training/aachen/a_leftImg8bit.png",
        "in no folder that": images / "train/b_leftImg8bit.png",
        "not named as": images / "train/aachen/c.png",
        "of another format": images / "train/aachen/d_leftImg8bit.jpg",
        "in a folder that": images / "train/aachen/more/e_leftImg8bit.png",
        "label maps without an image": labels / "train/aachen/f_gtFine_labelTrainIds.png",
    }
    for path in strays.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with collect_skipped() as left_out:
        assert len(rows(root, "train", CITYSCAPES, labelled=True)) == len(NAMES)
    assert len(left_out.lines()) == len(strays)
    for cause, path in strays.items():
        assert [line for line in left_out.lines() if line.startswith(f"1 left out, {cause}") and str(path) in line]


@pytest.mark.fault(53, "labels of the test images are not public, and one line says so")
def test_the_labels_of_the_test_images_are_not_public(root):
    (root / "leftImg8bit/train").rename(root / "leftImg8bit/test")
    for number in range(3):
        Image.new("RGB", (8, 4)).save(root / f"leftImg8bit/test/aachen/aachen_00000{number}_0_leftImg8bit.png")
    with pytest.raises(
        DataError, match="none of the 6 label maps is there.* test images are not public: measure on `sp"
    ):
        rows(root, "test", CITYSCAPES, labelled=True)
