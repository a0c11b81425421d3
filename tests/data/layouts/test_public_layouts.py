"""What the readers of the public data sets have in common, on miniatures with the published names; GTA5, SYNTHIA."""

from pathlib import Path

import numpy as np
import public_trees as trees
import pytest
from PIL import Image

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts import (
    AcdcLayout,
    Bdd100kNightLayout,
    Gta5Layout,
    NighttimeDrivingLayout,
    SynthiaLayout,
)
from loopda.data.manifest import Row
from loopda.data.skipped import collect_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import read_classes
from loopda.labels.classes import CITYSCAPES, SYNTHIA

SYNTHIA_CLASSES = Path(__file__).parents[3] / "workflow/config/synthia/classes.yaml"


def reader(kind, **fixed):
    """Reads a tree as the layout `kind`, whose keys are `fixed` and those of each call."""

    def read(root, classes, *, labelled, **keys):
        return kind(root=root, **fixed, **keys).rows(classes, labelled=labelled)

    return read


nighttime_driving = reader(NighttimeDrivingLayout, layout="nighttime_driving")
bdd100k_night = reader(Bdd100kNightLayout, layout="bdd100k_night")
gta5 = reader(Gta5Layout, layout="gta5")
synthia = reader(SynthiaLayout, layout="synthia")

READERS = {
    "nighttime_driving": (trees.nighttime_driving, nighttime_driving),
    "acdc": (trees.acdc, reader(AcdcLayout, layout="acdc", split="train")),
    "bdd100k_night": (
        trees.bdd100k,
        lambda root, classes, labelled: bdd100k_night(root, classes, labelled=labelled, names=root / trees.MGCDA_LIST),
    ),
    "gta5": (trees.gta5, gta5),
    "synthia": (trees.synthia, synthia),
}


def checked(rows: list[Row], *, labelled: bool = True) -> Checked:
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1)


# what all have in common


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


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"bdd100k_night"}))
@pytest.mark.fault(49, "where nothing is found, what was left out is said with it")
def test_where_all_images_have_another_format_the_message_says_so(name, tmp_path):
    build, read = READERS[name]
    build(tmp_path)
    for row in read(tmp_path, CITYSCAPES, labelled=True):
        row.image.rename(row.image.with_suffix(".webp"))
    with collect_skipped(), pytest.raises(DataError, match=r"in it; .*\n5 left out, of another format than .*\.webp"):
        read(tmp_path, CITYSCAPES, labelled=True)


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"bdd100k_night"}))
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
    read = nighttime_driving if name == "nighttime_driving" else bdd100k_night
    with pytest.raises(DataError) as caught:
        read(tmp_path, CITYSCAPES, labelled=True, names=names)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{names}: of the 50 files that it names 50 are not there, such as {tmp_path}")


# GTA5 and SYNTHIA


def test_gta5_and_synthia_are_read_in_their_own_encodings(tmp_path):
    of_gta5 = gta5(trees.gta5(tmp_path / "gta5"), CITYSCAPES, labelled=True)
    of_synthia = synthia(trees.synthia(tmp_path / "synthia"), CITYSCAPES, labelled=True)
    assert {row.encoding for row in of_gta5} == {"labelIds"}
    assert {row.encoding for row in of_synthia} == {SYNTHIA}
    assert [row.image.name for row in of_gta5] == [f"{number:05d}.png" for number in range(1, 6)]
    assert [row.image.name for row in of_synthia] == [f"{number:07d}.png" for number in range(5)]


def test_the_licence_plate_of_gta5_is_void_as_34_and_as_255_and_35_is_a_fault(tmp_path):
    root = trees.gta5(tmp_path)
    trees.palette_label(root / "labels/00002.png", void=255)
    assert checked(gta5(root, CITYSCAPES, labelled=True)).faults == []
    trees.palette_label(root / "labels/00003.png", void=35)
    [fault] = checked(gta5(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {root / 'labels/00003.png'}: id 35 is neither a class nor void")


def test_a_label_of_gta5_that_was_converted_to_colours_is_refused(tmp_path):
    root = trees.gta5(tmp_path)
    with Image.open(root / "labels/00004.png") as image:
        image.convert("RGB").save(root / "labels/00004.png")
    [fault] = checked(gta5(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {root / 'labels/00004.png'}: a label map in colour mode RGB")


numbered = pytest.mark.parametrize(
    ("build", "read", "images", "labels"),
    [(trees.gta5, gta5, "images", "labels"), (trees.synthia, synthia, "RGB", "GT/LABELS")],
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
    broken = tuple(Path(name).stem for name in names[:3])
    rows = read(root, CITYSCAPES, labelled=True, exclude=broken)
    assert [row.image.name for row in rows] == names[3:]
    assert checked(rows).faults == []


@numbered
def test_a_number_that_is_not_there_cannot_be_excluded(build, read, images, labels, tmp_path):
    with pytest.raises(ConfigError, match="no 15188 to exclude"):
        read(build(tmp_path), CITYSCAPES, labelled=True, exclude=("15188",))


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
    [fault] = checked(synthia(root, CITYSCAPES, labelled=True)).faults
    assert fault.startswith(f"label {bad}: not a label map of SYNTHIA")


def test_the_ids_of_synthia_are_0_to_22(tmp_path):
    root = trees.synthia(tmp_path)
    every = np.arange(trees.WIDTH * trees.HEIGHT, dtype=np.uint8).reshape(trees.HEIGHT, trees.WIDTH) % 23
    trees.label_16_bit(root / "GT/LABELS/0000000.png", every)
    assert checked(synthia(root, CITYSCAPES, labelled=True)).faults == []
    trees.label_16_bit(root / "GT/LABELS/0000001.png", every + 1)
    [fault] = checked(synthia(root, CITYSCAPES, labelled=True)).faults
    assert "0000001.png: id 23 is neither" in fault


def test_the_16_classes_of_synthia_are_those_of_cityscapes_without_terrain_truck_and_train():
    classes = read_classes(SYNTHIA_CLASSES)
    assert set(CITYSCAPES.names) - set(classes.names) == {"terrain", "truck", "train"}
    assert list(classes.names) == [name for name in CITYSCAPES.names if name in classes.names]
    assert {22, 27, 31} <= classes.void_ids("labelIds")
    assert {16, 18, 20} <= classes.void_ids(SYNTHIA)
    assert not any(classes.unknown_ids(kind) ^ CITYSCAPES.unknown_ids(kind) for kind in CITYSCAPES.encodings)
