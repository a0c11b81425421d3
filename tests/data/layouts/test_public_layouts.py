"""The readers of Nighttime Driving, ACDC, BDD100K, GTA5 and SYNTHIA on miniatures with the published names."""

from pathlib import Path

import numpy as np
import public_trees as trees
import pytest
from PIL import Image

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts import acdc, bdd100k_night, gta5, nighttime_driving, synthia
from loopda.data.manifest import Row
from loopda.data.skipped import collect_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES, SYNTHIA, read_classes

SYNTHIA_CLASSES = Path(__file__).parents[3] / "workflow/config/synthia/classes.yaml"

READERS = {
    "nighttime_driving": (trees.nighttime_driving, nighttime_driving.rows),
    "acdc": (trees.acdc, lambda root, classes, labelled: acdc.rows(root, "train", classes, labelled=labelled)),
    "bdd100k_night": (
        trees.bdd100k,
        lambda root, classes, labelled: bdd100k_night.rows(root, root / trees.MGCDA_LIST, classes, labelled=labelled),
    ),
    "gta5": (trees.gta5, gta5.rows),
    "synthia": (trees.synthia, synthia.rows),
}


def checked(rows: list[Row], *, labelled: bool = True) -> Checked:
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1)


# what all five have in common


@pytest.mark.parametrize("name", READERS)
def test_five_images_are_found_with_labels_that_mean_the_same_classes(name, tmp_path):
    build, read = READERS[name]
    rows = read(build(tmp_path), CITYSCAPES, labelled=True)
    found = checked(rows)
    assert (len(rows), found.faults) == (5, [])
    shares = dict(zip(CITYSCAPES.names, found.pixels.tolist(), strict=True))
    quarter = 5 * trees.WIDTH * trees.HEIGHT // 4
    assert {name: count for name, count in shares.items() if count} == {
        "sky": quarter - 5,
        "building": quarter,
        "road": quarter,
        "car": quarter,
    }
    assert found.ignored == 5


@pytest.mark.parametrize("name", READERS)
def test_labels_that_are_not_needed_may_be_missing(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path)
    second = read(tmp_path, CITYSCAPES, labelled=True)[1].label
    for other in second.parent.glob(f"{second.stem.removesuffix('_labelIds')}*"):
        other.unlink()
    rows = read(tmp_path, CITYSCAPES, labelled=False)
    assert [row.label is None for row in rows] == [False, True, False, False, False]
    assert checked([Row(row.image) for row in rows], labelled=False).faults == []


@pytest.mark.parametrize("name", READERS)
def test_a_missing_label_is_named_by_the_file_to_expect(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path)
    missing = read(tmp_path, CITYSCAPES, labelled=True)[1].label
    for other in missing.parent.glob(f"{missing.stem.removesuffix('_labelIds')}*"):
        other.unlink()
    [fault] = checked(read(tmp_path, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {missing}: no such file")


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_root_says_what_the_root_must_hold(name, tmp_path):
    names = tmp_path / trees.MGCDA_LIST
    names.write_text("seg/images/train/aa01.jpg\n")
    with pytest.raises(DataError, match="`root` must be the folder that holds"):
        READERS[name][1](tmp_path, CITYSCAPES, labelled=True)


@pytest.mark.parametrize("name", ["nighttime_driving", "acdc", "gta5", "synthia"])
@pytest.mark.fault(49, "where nothing is found, what was left out is said with it")
def test_where_all_images_have_another_format_the_message_says_so(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path)
    for row in read(tmp_path, CITYSCAPES, labelled=True):
        row.image.rename(row.image.with_suffix(".webp"))
    with collect_skipped(), pytest.raises(DataError, match=r"in it; .*\n5 left out, of another format than .*\.webp"):
        read(tmp_path, CITYSCAPES, labelled=True)


@pytest.mark.parametrize("name", ["nighttime_driving", "acdc", "gta5", "synthia"])
def test_hidden_files_that_archivers_leave_are_no_images(name, tmp_path):
    build, read = READERS[name]
    for path in list(build(tmp_path).rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"junk")
    found = checked(read(tmp_path, CITYSCAPES, labelled=True))
    assert (len(found.rows), found.faults) == (5, [])


@pytest.mark.fault(49, "in each layout of a public data set suffixes may have other letters, and folders may be links")
@pytest.mark.parametrize("name", READERS)
def test_suffixes_in_other_letters_and_linked_folders_make_no_set_smaller(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path / "there")
    for path in [*(tmp_path / "there").rglob("*.png"), *(tmp_path / "there").rglob("*.jpg")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    (tmp_path / "here").mkdir()
    for path in (tmp_path / "there").iterdir():
        if path.is_dir():
            (tmp_path / "here" / path.name).mkdir()
            for inner in path.iterdir():
                (tmp_path / "here" / path.name / inner.name).symlink_to(inner)
        else:
            (tmp_path / "here" / path.name).symlink_to(path)
    found = checked(read(tmp_path / "here", CITYSCAPES, labelled=True))
    assert (len(found.rows), found.faults) == (5, [])


@pytest.mark.fault(53, "labels that are not unpacked are one line, in each layout")
@pytest.mark.parametrize("name", READERS)
def test_where_no_label_is_there_one_line_says_so(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path)
    for row in read(tmp_path, CITYSCAPES, labelled=True):
        for other in row.label.parent.glob(f"{row.label.stem.removesuffix('_labelIds')}*"):
            other.unlink()
    with pytest.raises(DataError) as caught:
        read(tmp_path, CITYSCAPES, labelled=True)
    [line] = str(caught.value).splitlines()
    assert "none of the 5 label maps is there, such as " in line


@pytest.mark.fault(53, "a list of names of another tree: one line says so")
@pytest.mark.parametrize("name", ["nighttime_driving", "bdd100k_night"])
def test_a_list_of_names_of_another_tree_is_one_line(name, tmp_path):
    build, _ = READERS[name]
    build(tmp_path)
    names = tmp_path / "names.txt"
    line = "{}_leftImg8bit.png\n" if name == "nighttime_driving" else "seg\\images\\train\\{}.jpg\n"
    names.write_text("".join(line.format(number) for number in range(50)))
    reader = nighttime_driving if name == "nighttime_driving" else bdd100k_night
    with pytest.raises(DataError) as caught:
        reader.rows(tmp_path, classes=CITYSCAPES, labelled=True, names=names)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{names}: of the 50 files that it names 50 are not there, such as {tmp_path}")


# Nighttime Driving


def test_nighttime_driving_is_sorted_by_name_and_its_label_ids_come_first(tmp_path):
    rows = nighttime_driving.rows(trees.nighttime_driving(tmp_path), CITYSCAPES, labelled=True)
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
    rows = nighttime_driving.rows(root, CITYSCAPES, labelled=True, names=names)
    assert [row.image.name for row in rows] == ["0_frame_1738_leftImg8bit.png", "0_frame_0250_leftImg8bit.png"]
    assert checked(rows).faults == []


@pytest.mark.fault(54, "LoopDA's nd_val.txt: each image once, and the log says so")
def test_a_list_that_names_each_image_twice_is_taken_once_and_says_so(tmp_path):
    root = trees.nighttime_driving(tmp_path)
    images = sorted((root / "leftImg8bit/test/night").iterdir())
    names = tmp_path / "nd_val.txt"  # of LoopDA's code: all names, then all again
    names.write_text(2 * "".join(f"{image.name}\n" for image in images))
    with collect_skipped() as left_out:
        rows = nighttime_driving.rows(root, CITYSCAPES, labelled=True, names=names)
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
        nighttime_driving.rows(trees.nighttime_driving(tmp_path), CITYSCAPES, labelled=True, names=names)
    assert ("line 3" in str(caught.value)) == bool(text)


def test_a_missing_list_is_a_data_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="none.txt: no such list of names"):
        nighttime_driving.rows(tmp_path, CITYSCAPES, labelled=True, names=tmp_path / "none.txt")


# ACDC


@pytest.mark.parametrize("split", ["train", "val"])
def test_acdc_pairs_each_image_with_the_reference_of_its_recording_and_frame(split, tmp_path):
    rows = acdc.rows(trees.acdc(tmp_path, split), split, CITYSCAPES, labelled=True)
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
        rows = acdc.rows(tmp_path, "train", CITYSCAPES, labelled=True, **arguments)
        assert {path.relative_to(tmp_path).parts[1] for row in rows for path in (row.image, row.label)} == {condition}


def test_a_missing_reference_of_acdc_is_a_fault_but_no_folder_of_references_is_none(tmp_path):
    trees.acdc(tmp_path)
    rows = acdc.rows(tmp_path, "train", CITYSCAPES, labelled=False)
    rows[1].reference.unlink()
    [fault] = checked([Row(row.image, reference=row.reference) for row in rows], labelled=False).faults
    assert fault.startswith(f"reference {rows[1].reference}: no such file")
    assert str(rows[1].image) in fault
    (tmp_path / "rgb_anon/night/train_ref").rename(tmp_path / "elsewhere")
    assert {row.reference for row in acdc.rows(tmp_path, "train", CITYSCAPES, labelled=False)} == {None}


def test_the_labels_of_acdcs_test_images_are_not_published(tmp_path):
    trees.acdc(tmp_path, "test")
    assert checked(acdc.rows(tmp_path, "test", CITYSCAPES, labelled=False), labelled=False).faults == []
    with pytest.raises(DataError, match="none of the 5 label maps is there.* labels of the test images are not public"):
        acdc.rows(tmp_path, "test", CITYSCAPES, labelled=True)


# BDD100K


@pytest.mark.parametrize("new", [True, False])
def test_the_same_list_names_the_same_images_in_both_layouts(new, tmp_path):
    root = trees.bdd100k(tmp_path, new=new)
    rows = bdd100k_night.rows(root, root / trees.MGCDA_LIST, CITYSCAPES, labelled=True)
    assert [row.image.stem for row in rows] == ["aa01", "aa02", "bb01", "aa03", "bb02"]
    assert {row.encoding for row in rows} == {"labelTrainIds"}
    assert checked(rows).faults == []


def test_the_new_layout_is_read_where_both_are_there(tmp_path):
    trees.bdd100k(tmp_path, new=False)
    root = trees.bdd100k(tmp_path)
    rows = bdd100k_night.rows(root, root / trees.MGCDA_LIST, CITYSCAPES, labelled=True)
    assert {row.image.relative_to(root).parts[0] for row in rows} == {"images"}


def test_every_line_that_names_no_image_of_train_or_val_is_told_by_its_number(tmp_path):
    root = trees.bdd100k(tmp_path)
    names = root / "names.txt"
    names.write_text("seg/images/train/aa01.jpg\nseg/images/test/aa02.jpg\naa03.jpg\nval/bb01.png\n")
    with pytest.raises(DataError) as caught:
        bdd100k_night.rows(root, names, CITYSCAPES, labelled=True)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].split(", ")[-1] for line in lines] == ["line 2", "line 3", "line 4"]


# GTA5 and SYNTHIA


def test_gta5_and_synthia_are_read_in_their_own_encodings(tmp_path):
    of_gta5 = gta5.rows(trees.gta5(tmp_path / "gta5"), CITYSCAPES, labelled=True)
    of_synthia = synthia.rows(trees.synthia(tmp_path / "synthia"), CITYSCAPES, labelled=True)
    assert {row.encoding for row in of_gta5} == {"labelIds"}
    assert {row.encoding for row in of_synthia} == {SYNTHIA}
    assert [row.image.name for row in of_gta5] == [f"{number:05d}.png" for number in range(1, 6)]
    assert [row.image.name for row in of_synthia] == [f"{number:07d}.png" for number in range(5)]


def test_the_licence_plate_of_gta5_is_void_as_34_and_as_255_and_35_is_a_fault(tmp_path):
    root = trees.gta5(tmp_path)
    trees.palette_label(root / "labels/00002.png", void=255)
    assert checked(gta5.rows(root, CITYSCAPES, labelled=True)).faults == []
    trees.palette_label(root / "labels/00003.png", void=35)
    [fault] = checked(gta5.rows(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {root / 'labels/00003.png'}: id 35 is neither a class nor void")


def test_a_label_of_gta5_that_was_converted_to_colours_is_refused(tmp_path):
    root = trees.gta5(tmp_path)
    with Image.open(root / "labels/00004.png") as image:
        image.convert("RGB").save(root / "labels/00004.png")
    [fault] = checked(gta5.rows(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {root / 'labels/00004.png'}: a label map in colour mode RGB")


numbered = pytest.mark.parametrize(
    ("build", "read", "images", "labels"),
    [(trees.gta5, gta5.rows, "images", "labels"), (trees.synthia, synthia.rows, "RGB", "GT/LABELS")],
    ids=["gta5", "synthia"],
)


@numbered
def test_every_broken_pair_is_listed_and_can_be_left_out_by_its_number(build, read, images, labels, tmp_path):
    root = build(tmp_path)
    names = sorted(path.name for path in (root / images).iterdir())
    (root / images / names[0]).unlink()
    (root / labels / names[1]).unlink()
    trees.photograph(root / images / names[2], size=(trees.WIDTH + 2, trees.HEIGHT))
    faults = checked(read(root, CITYSCAPES, labelled=True)).faults
    assert [name for name in names if any(name in fault for fault in faults)] == names[:3]
    broken = [Path(name).stem for name in names[:3]]
    rows = read(root, CITYSCAPES, labelled=True, exclude=broken)
    assert [row.image.name for row in rows] == names[3:]
    assert checked(rows).faults == []


@numbered
def test_a_number_that_is_not_there_cannot_be_excluded(build, read, images, labels, tmp_path):
    with pytest.raises(ConfigError, match="no 15188 to exclude"):
        read(build(tmp_path), CITYSCAPES, labelled=True, exclude=["15188"])


@numbered
def test_train_ids_beside_the_published_labels_change_nothing_and_alone_they_are_read(
    build, read, images, labels, tmp_path
):
    root = build(tmp_path)
    published = sorted((root / labels).iterdir())
    before = read(root, CITYSCAPES, labelled=True)
    made = [trees.label(path.with_name(f"{path.stem}_labelTrainIds.png"), "labelTrainIds", 255) for path in published]
    assert read(root, CITYSCAPES, labelled=True) == before
    for path in published:
        path.unlink()
    rows = read(root, CITYSCAPES, labelled=True)
    assert [(row.label, row.encoding) for row in rows] == [(path, "labelTrainIds") for path in made]
    assert checked(rows).faults == []


def test_an_8_bit_label_under_the_name_of_synthias_is_refused(tmp_path):
    root = trees.synthia(tmp_path)
    bad = trees.label(root / "GT/LABELS/0000003.png", SYNTHIA)
    [fault] = checked(synthia.rows(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {bad}: not a label map of SYNTHIA")


def test_the_ids_of_synthia_are_0_to_22(tmp_path):
    root = trees.synthia(tmp_path)
    every = np.arange(trees.WIDTH * trees.HEIGHT, dtype=np.uint8).reshape(trees.HEIGHT, trees.WIDTH) % 23
    trees.label_16_bit(root / "GT/LABELS/0000000.png", every)
    assert checked(synthia.rows(root, CITYSCAPES, labelled=True)).faults == []
    trees.label_16_bit(root / "GT/LABELS/0000001.png", every + 1)
    [fault] = checked(synthia.rows(root, CITYSCAPES, labelled=True)).faults
    assert "0000001.png: id 23 is neither" in fault


def test_the_16_classes_of_synthia_are_those_of_cityscapes_without_terrain_truck_and_train():
    classes = read_classes(SYNTHIA_CLASSES)
    assert set(CITYSCAPES.names) - set(classes.names) == {"terrain", "truck", "train"}
    assert list(classes.names) == [name for name in CITYSCAPES.names if name in classes.names]
    assert {22, 27, 31} <= classes.void_ids("labelIds")
    assert {16, 18, 20} <= classes.void_ids(SYNTHIA)
    assert not any(classes.unknown_ids(kind) ^ CITYSCAPES.unknown_ids(kind) for kind in CITYSCAPES.encodings)
