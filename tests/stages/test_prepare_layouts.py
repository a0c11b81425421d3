"""Stage `prepare` on miniatures of the public data sets and of one's own images, whole and malformed."""

import json
from pathlib import Path

import public_trees as trees
import pytest
from PIL import Image

from loopda.config import parse_section
from loopda.data.manifest import read_manifest
from loopda.errors import ConfigError, DataError
from loopda.runtime.files import sha256
from loopda.stages.prepare import Config, run


@pytest.fixture
def section(tmp_path):
    """The section `data` over five data sets: GTA5, ACDC, Cityscapes and Nighttime Driving, in `tmp_path`."""
    trees.gta5(tmp_path / "gta5")
    trees.acdc(tmp_path / "acdc")
    trees.cityscapes(tmp_path / "cityscapes", "val")
    trees.nighttime_driving(tmp_path / "driving")
    return {
        "classes": "cityscapes",
        "source": {"layout": "gta5", "root": str(tmp_path / "gta5")},
        "night": {"layout": "acdc", "root": str(tmp_path / "acdc"), "split": "train"},
        "day_val": {"layout": "cityscapes", "root": str(tmp_path / "cityscapes"), "split": "val"},
        "night_val": {"layout": "nighttime_driving", "root": str(tmp_path / "driving")},
    }


@pytest.fixture
def prepare(tmp_path):
    def go(section):
        out = tmp_path / "out"
        run(
            config=parse_section(section, Config, "config.yaml"),
            **{name: out / f"{name}.csv" for name in ("source", "night", "day_val", "night_val", "day")},
            classes=out / "classes.json",
            summary=out / "summary.json",
            sheet=out / "contact_sheet.png",
            workers=1,
            log=tmp_path / "prepare.log",
        )
        return out

    return go


def own_drive(folder: Path) -> dict:
    for number in range(5):
        trees.photograph(folder / f"night/monday/{number}.jpg")
        trees.photograph(folder / f"day/monday/{number}.jpg")
        trees.label(folder / f"masks/monday/{number}.png", "labelTrainIds", 255)
    return {
        "layout": "folder",
        "root": str(folder),
        "images": "night/**/*.jpg",
        "labels": "masks/{folder}/{stem}.png",
        "references": "day/{folder}/{stem}.jpg",
        "encoding": "labelTrainIds",
    }


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def test_each_public_layout_is_prepared_and_the_log_names_the_contact_sheet(prepare, section, tmp_path):
    out = prepare(section)
    sets = summary_of(out)["sets"]
    assert {name: of_set["images"] for name, of_set in sets.items()} == dict.fromkeys(sets, 5)
    assert (sets["night"]["with_reference"], sets["night"]["hidden"]) == (5, 5)
    assert str(out / "contact_sheet.png") in (tmp_path / "prepare.log").read_text()
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_synthia_a_folder_of_ones_own_and_bdd100k_are_prepared(prepare, section, tmp_path):
    bdd = trees.bdd100k(tmp_path / "bdd100k")
    section["source"] = {"layout": "synthia", "root": str(trees.synthia(tmp_path / "synthia"))}
    section["night"] = own_drive(tmp_path / "mine")
    section["night_val"] = {"layout": "bdd100k_night", "root": str(bdd), "names": str(bdd / trees.MGCDA_LIST)}
    out = prepare(section)
    sets = summary_of(out)["sets"]
    assert {name: of_set["images"] for name, of_set in sets.items()} == dict.fromkeys(sets, 5)
    assert {row.encoding for row in read_manifest(out / "source.csv")} == {"synthia"}
    assert sets["source"]["frequency"] == sets["night_val"]["frequency"]
    assert (sets["night"]["with_reference"], sets["night"]["hidden"]) == (5, 5)


def test_further_sets_of_night_images_are_checked_too_and_the_summary_names_their_manifests(prepare, section, tmp_path):
    section["night_tests"] = {"driving": section["night_val"]}
    section["night_val"] = {
        "layout": "dark_zurich",
        "root": str(trees.dark_zurich(tmp_path / "zurich")),
        "split": "val",
    }
    out = prepare(section)
    summary = summary_of(out)
    manifest = out / "night_tests/driving.csv"
    assert summary["night_tests"] == {"driving": {"manifest": str(manifest), "sha256": sha256(manifest)}}
    assert [row.image.parent.name for row in read_manifest(manifest)] == ["night"] * 5
    assert (summary["sets"]["driving"]["images"], summary["sets"]["driving"]["labelled"]) == (5, 5)
    assert "driving: classes without a pixel: sidewalk" in "\n".join(summary["notes"])
    _, path, fault = unknown_id(tmp_path, section)
    with pytest.raises(DataError, match=rf"(?m)^data\.night_tests\.driving: label {path}.*{fault}"):
        prepare(section)


def test_a_data_section_without_further_sets_names_none(prepare, section):
    out = prepare(section)
    assert "night_tests" not in summary_of(out)
    assert not (out / "night_tests").exists()


@pytest.mark.parametrize("name", ["night", "source", "rain-full", "a/b", ""])
def test_a_further_set_needs_a_name_of_its_own(section, name):
    section["night_tests"] = {name: section["night_val"]}
    with pytest.raises(ConfigError, match=f"night_tests.*the name '{name}'"):
        parse_section(section, Config, "config.yaml")


def test_classes_that_are_measured_but_never_learnt_are_noted(prepare, section, tmp_path):
    label = next((tmp_path / "driving").rglob("*_labelIds.png"))
    trees.label(label, void=27)  # one pixel of truck
    notes = summary_of(prepare(section))["notes"]
    [note] = [note for note in notes if "not in those of source" in note]
    assert note.startswith("night_val: truck: ")
    classes = tmp_path / "classes.yaml"
    classes.write_text("{base: cityscapes, keep: [road, building, sky, car]}")
    summary = summary_of(prepare(section | {"classes": str(classes)}))
    assert summary["classes"] == ["road", "building", "sky", "car"]
    assert not any("not in those of source" in note for note in summary["notes"])


# malformed trees: each damages the tree of `section` and returns the data set, the file and the fault to expect


def wrong_size(root, section):
    path = root / "cityscapes/gtFine/val/munster/munster_000001_000019_gtFine_labelIds.png"
    trees.label(path, size=(8, 16))
    return "day_val", path, "8x16 pixels, but its image .* has 16x8; make them the same size"


def truncated(root, section):
    path = root / "acdc/rgb_anon/night/train/GP010376/GP010376_frame_000001_rgb_anon.png"
    path.write_bytes(path.read_bytes()[:200])
    return "night", path, "damaged image .*; fetch it again"


def missing_reference(root, section):
    path = root / "acdc/rgb_anon/night/train_ref/GOPR0351/GOPR0351_frame_000002_rgb_ref_anon.png"
    path.unlink()
    return "night", path, "no such file; fetch it, or correct its name; it belongs to the image"


def unknown_id(root, section):
    path = root / "driving/gtCoarse_daytime_trainvaltest/test/night/0_frame_0250_gtCoarse_labelIds.png"
    trees.label(path, void=77)
    return "night_val", path, "id 77 is neither a class nor void .*; correct the label, or add the id to the list"


def label_ids_called_train_ids(root, section):
    stem = "munster_000000_000019_gtFine"
    path = root / f"cityscapes/gtFine/val/munster/{stem}_labelTrainIds.png"
    (path.parent / f"{stem}_labelIds.png").rename(path)
    return "day_val", path, "id 23, 26 is neither .*encoding 'labelTrainIds'.*; correct the label"


def train_ids_called_label_ids(root, section):
    paths = sorted((root / "cityscapes/gtFine").rglob("*_labelIds.png"))
    for path in paths:
        trees.label(path, "labelTrainIds", 255)
    return "day_val", paths[0], "as labelIds, 75% of their pixels are void .*give them names that end in _labelTrainIds"


def empty_split(root, section):
    section["day_val"]["split"] = "test"
    (root / "cityscapes/leftImg8bit/test").mkdir()
    return "day_val", root / "cityscapes/leftImg8bit/test", "no <city>.* in it; `root` must be"


def size_mismatch_of_gta5(root, section):
    trees.photograph(root / "gta5/images/00003.png", size=(16, 10))
    return "source", root / "gta5/labels/00003.png", "16x8 pixels, but its image .* has 16x10; make them the same size"


def half_a_pair_of_gta5(root, section):
    (root / "gta5/images/00005.png").unlink()
    return "source", root / "gta5/images/00005.png", "no such file; fetch it, or correct its name"


def colours_in_gta5(root, section):
    path = root / "gta5/labels/00002.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    return "source", path, "colour mode RGB; expected one channel of class ids"


def label_of_synthia_in_8_bits(root, section):
    section["source"] = {"layout": "synthia", "root": str(trees.synthia(root / "synthia"))}
    path = trees.label(root / "synthia/GT/LABELS/0000004.png", "synthia")
    return "source", path, "not a label map of SYNTHIA .*; fetch the file again"


def missing_reference_of_a_folder(root, section):
    section["night"] = own_drive(root / "mine")
    (root / "mine/day/monday/3.jpg").unlink()
    return "night", root / "mine/day/monday/3.jpg", "no such file; fetch it, or correct its name; it belongs to"


def unlisted_line_of_bdd100k(root, section):
    bdd = trees.bdd100k(root / "bdd100k")
    names = bdd / "names.txt"
    names.write_text("seg/images/train/aa01.jpg\naa02\n")
    section["night_val"] = {"layout": "bdd100k_night", "root": str(bdd), "names": str(names)}
    return "night_val", names, "line 2: 'aa02' is not .*; correct or delete the line"


MALFORMED = [
    wrong_size,
    truncated,
    missing_reference,
    unknown_id,
    label_ids_called_train_ids,
    train_ids_called_label_ids,
    empty_split,
    size_mismatch_of_gta5,
    half_a_pair_of_gta5,
    colours_in_gta5,
    label_of_synthia_in_8_bits,
    missing_reference_of_a_folder,
    unlisted_line_of_bdd100k,
]


@pytest.mark.parametrize("damage", MALFORMED)
def test_a_malformed_tree_is_refused_with_its_set_file_and_remedy_and_nothing_is_written(
    prepare, section, tmp_path, damage
):
    of_set, path, fault = damage(tmp_path, section)
    with pytest.raises(DataError, match=rf"(?m)^data\.{of_set}: (\w+ )?{path}.*{fault}"):
        prepare(section)
    assert not (tmp_path / "out").exists()


def test_all_malformed_files_of_four_sets_are_listed_in_one_run(prepare, section, tmp_path):
    damages = [
        wrong_size,
        truncated,
        missing_reference,
        unknown_id,
        label_ids_called_train_ids,
        size_mismatch_of_gta5,
        half_a_pair_of_gta5,
        colours_in_gta5,
    ]
    expected = [damage(tmp_path, section) for damage in damages]
    with pytest.raises(DataError) as caught:
        prepare(section)
    lines = str(caught.value).splitlines()
    for of_set, path, _ in expected:
        assert [line for line in lines if line.startswith(f"data.{of_set}: ") and str(path) in line], path
    assert len(lines) == len(damages) + 1  # and a remedy


def test_what_prepare_refuses_in_gta5_can_be_excluded_by_number_as_it_says(prepare, section, tmp_path):
    size_mismatch_of_gta5(tmp_path, section)
    half_a_pair_of_gta5(tmp_path, section)
    with pytest.raises(DataError, match=r"(?m)^data\.source: a pair that cannot be corrected .* `exclude`$"):
        prepare(section)
    section["source"]["exclude"] = ["00003", "00005"]
    rows = read_manifest(prepare(section) / "source.csv")
    assert [row.image.stem for row in rows] == ["00001", "00002", "00004"]


# day images for `pair`, of which there are none: each returns the data set, the place to name, and what to say of it


def no_day_in_cityscapes(root):
    return {"layout": "cityscapes", "split": "train"}, root / "leftImg8bit/train", "no <city>.*; `root` must be"


def no_day_in_dark_zurich(root):
    return {"layout": "dark_zurich", "split": "val"}, root / "rgb_anon/val/night", "no such folder.*; `root` must be"


def no_pair_in_dark_zurich(root):
    (root / "rgb_anon/train/night").mkdir(parents=True)
    pairs = root / "zurich_dn_pair_train.csv"
    pairs.touch()
    return {"layout": "dark_zurich", "split": "train"}, pairs, "no pairs in it; it must hold a line"


def no_day_in_nighttime_driving(root):
    return {"layout": "nighttime_driving"}, root / "leftImg8bit/test/night", "no .*; `root` must be"


def no_day_in_acdc(root):
    return {"layout": "acdc", "split": "train"}, root / "rgb_anon/night/train", "no <recording>.*; `root` must be"


def no_day_in_bdd100k(root):
    names = root / "names.txt"
    names.touch()
    (root / "images/10k").mkdir(parents=True)
    return {"layout": "bdd100k_night", "names": str(names)}, names, "no names in it; it must hold one name a line"


def no_day_in_gta5(root):
    return {"layout": "gta5"}, root / "images", "no <number>.png in it; `root` must be"


def no_day_left_in_gta5(root):
    trees.gta5(root)
    numbers = [image.stem for image in (root / "images").iterdir()]
    return {"layout": "gta5", "exclude": numbers}, root / "images", "`exclude` leaves none of its 5 images; name fewer$"


def no_day_in_synthia(root):
    return {"layout": "synthia"}, root / "RGB", "no <number>.png in it; `root` must be"


def no_day_in_a_folder(root):
    return (
        {"layout": "folder", "images": "day/*.png"},
        root / "day/[*].png",
        "no file matches; correct `root` or `images`",
    )


def no_day_in_a_table(root):
    table = root / "day.csv"
    table.write_text("image,label,reference\n")
    return (
        {"layout": "table", "csv": str(table)},
        table,
        "no rows below the header; `csv` must name a table with a line",
    )


def no_byte_in_a_table(root):
    table = root / "day.csv"
    table.touch()
    return (
        {"layout": "table", "csv": str(table)},
        table,
        "the first line must name the columns image.*; `csv` must name",
    )


def no_table(root):
    return {"layout": "table", "csv": str(root / "day.csv")}, root / "day.csv", "no such table; `csv` must name a table"


WITHOUT_DAY = [
    no_day_in_cityscapes,
    no_day_in_dark_zurich,
    no_pair_in_dark_zurich,
    no_day_in_nighttime_driving,
    no_day_in_acdc,
    no_day_in_bdd100k,
    no_day_in_gta5,
    no_day_left_in_gta5,
    no_day_in_synthia,
    no_day_in_a_folder,
    no_day_in_a_table,
    no_byte_in_a_table,
    no_table,
]


def test_no_layout_is_left_out_of_the_sets_without_day_images(tmp_path):
    known = Config.model_json_schema()["properties"]["source"]["anyOf"][0]["discriminator"]["mapping"]
    tried = set()
    for number, empty in enumerate(WITHOUT_DAY):
        (tmp_path / str(number)).mkdir()
        tried.add(empty(tmp_path / str(number))[0]["layout"])
    assert tried == set(known)


@pytest.mark.parametrize("empty", WITHOUT_DAY)
def test_day_images_that_are_named_but_not_there_are_refused_by_their_key_their_place_and_the_remedy(
    prepare, section, tmp_path, empty
):
    root = tmp_path / "empty"
    root.mkdir()
    of_set, path, fault = empty(root)
    section["day"] = of_set if of_set["layout"] == "table" else of_set | {"root": str(root)}
    with pytest.raises(DataError, match=rf"^data\.day: {path}: {fault}") as caught:
        prepare(section)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
