import csv
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import yaml
from PIL import Image

from loopda.config import parse_section
from loopda.data.manifest import read_manifest
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import load_classes
from loopda.labels.classes import CITYSCAPES
from loopda.stages.prepare import Config, run

MANIFESTS = ("source.csv", "night.csv", "day_val.csv", "night_val.csv", "day.csv")
OUTPUTS = (*MANIFESTS, "classes.json", "summary.json", "sheet.png")


def image(path, mode="RGB", value=None, size=(8, 4)):
    """A picture of one value; a photograph of a grey of its own where none is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is None:
        grey = zlib.crc32(path.name.encode()) % 256
        value = (grey,) * 3 if mode == "RGB" else 0
    Image.new(mode, size, value).save(path)


@pytest.fixture
def world(tmp_path):
    """Cityscapes and Dark Zurich in miniature, with the published names; labels: road, one car, one sky."""
    city, zurich = tmp_path / "Cityscapes", tmp_path / "DarkZurich"
    for split, name, value in [
        ("train", "aachen_000000_000019", 7),
        ("train", "bochum_000000_000313", 26),
        ("val", "munster_000000_000019", 7),
    ]:
        place = f"{split}/{name.split('_')[0]}/{name}"
        image(city / f"leftImg8bit/{place}_leftImg8bit.png")
        image(city / f"gtFine/{place}_gtFine_labelIds.png", "L", value)
    pairs = []
    for number in (1, 2, 3):
        night, day = (
            f"train/night/GOPR0376/GOPR0376_frame_00000{number}",
            "train/day/GOPR0374/GOPR0374_frame_000001",
        )
        image(zurich / f"rgb_anon/{night}_rgb_anon.png", size=(16, 9))
        image(zurich / f"rgb_anon/{day}_rgb_anon.png", size=(16, 9))
        pairs.append(f"{night},{day}\n")
    (zurich / "zurich_dn_pair_train.csv").write_text("".join(pairs))
    image(zurich / "rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png", size=(16, 9))
    image(zurich / "gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png", "L", 10, (16, 9))
    return tmp_path


@pytest.fixture
def section(world):
    """The section `data`, to be changed by a test before it prepares."""
    city = {"layout": "cityscapes", "root": str(world / "Cityscapes")}
    zurich = {"layout": "dark_zurich", "root": str(world / "DarkZurich")}
    return {
        "classes": "cityscapes",
        "source": city | {"split": "train"},
        "night": zurich | {"split": "train"},
        "day_val": city | {"split": "val"},
        "night_val": zurich | {"split": "val"},
    }


@pytest.fixture
def prepare(world, section):
    def go():
        out = world / "out"
        run(
            config=parse_section(section, Config, "config.yaml"),
            source=out / "source.csv",
            night=out / "night.csv",
            day_val=out / "day_val.csv",
            night_val=out / "night_val.csv",
            day=out / "day.csv",
            classes=out / "classes.json",
            summary=out / "summary.json",
            sheet=out / "sheet.png",
            log=world / "prepare.log",
        )
        return out

    return go


def as_table(world, name, lines):
    path = world / f"{name}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "reference"), *lines])
    return {"layout": "table", "csv": str(path)}


def test_four_manifests_the_class_list_and_the_summary_are_written(prepare):
    out = prepare()
    assert sorted(path.name for path in out.iterdir()) == sorted([*OUTPUTS, "summary.made.json"])
    assert load_classes(out / "classes.json") == CITYSCAPES
    assert {row.encoding for row in read_manifest(out / "source.csv")} == {"labelIds"}
    [night_val] = read_manifest(out / "night_val.csv")
    assert (night_val.encoding, night_val.width, night_val.height) == ("labelTrainIds", 16, 9)
    night = read_manifest(out / "night.csv")
    assert len(night) == 3
    assert all(row.reference and row.label is None for row in night)


def test_the_summary_counts_images_references_and_pixels(prepare):
    summary = json.loads((prepare() / "summary.json").read_text())
    assert summary["classes"] == list(CITYSCAPES.names)
    source, night, night_val = (summary["sets"][name] for name in ("source", "night", "night_val"))
    assert (source["images"], source["labelled"], source["with_reference"]) == (2, 2, 0)
    assert source["frequency"]["road"] == source["frequency"]["car"] == 0.5
    assert sum(source["frequency"].values()) == 1
    assert "train" in source["absent"]
    assert "car" not in source["absent"]
    assert source["sizes"] == {"8x4": 2}
    assert (night["images"], night["labelled"], night["with_reference"], night["references"]) == (3, 0, 3, 1)
    assert night["frequency"] is None
    assert night_val["frequency"]["sky"] == 1


def test_labels_of_night_are_hidden_and_counted_and_not_even_opened(prepare, section, world):
    broken = world / "mask.png"
    broken.write_bytes(b"not a label")
    night = world / "DarkZurich/rgb_anon/train/night/GOPR0376/GOPR0376_frame_000001_rgb_anon.png"
    section["night"] = as_table(world, "mine", [(night, broken, "")])
    out = prepare()
    assert "mask.png" not in (out / "night.csv").read_text()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["sets"]["night"]["hidden"] == 1
    assert any("1 label maps exist and stay hidden" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("with_reference", "note"),
    [
        (0, "night: no references: terms that need one are left out"),
        (1, "night: 1 of 2 images have no reference"),
        (2, None),
    ],
)
def test_night_images_may_have_no_or_some_references_and_the_summary_and_log_say_so(
    prepare, section, world, with_reference, note
):
    folder = world / "DarkZurich/rgb_anon/train"
    day = folder / "day/GOPR0374/GOPR0374_frame_000001_rgb_anon.png"
    section["night"] = as_table(
        world,
        "mine",
        [
            (
                folder / f"night/GOPR0376/GOPR0376_frame_00000{n}_rgb_anon.png",
                "",
                day if n <= with_reference else "",
            )
            for n in (1, 2)
        ],
    )
    summary = json.loads((prepare() / "summary.json").read_text())
    assert summary["sets"]["night"]["with_reference"] == with_reference
    notes = [line for line in summary["notes"] if line.startswith("night:")]
    if note is None:
        assert notes == []
    else:
        assert notes[0].startswith(note)
        assert note in (world / "prepare.log").read_text()


@pytest.mark.fault(49, "`prepare` says it of each set, in its log and its summary")
def test_what_is_left_out_of_each_set_is_in_the_log_and_in_the_notes(prepare, section, world):
    for name in ("a.png", "b.PNG", ".ipynb_checkpoints/a-checkpoint.png", "c.webp"):
        image(world / "night" / name, size=(16, 9)) if "webp" not in name else (world / "night" / name).touch()
    (world / "night/tuesday").symlink_to(world / "elsewhere")
    image(world / "elsewhere/d.png", size=(16, 9))
    section["night"] = {"layout": "folder", "root": str(world), "images": "night/**/*.png"}
    image(world / "Cityscapes/leftImg8bit/train/stray.png")
    summary = json.loads((prepare() / "summary.json").read_text())
    assert summary["sets"]["night"]["images"] == 3
    expected = [
        "night: 1 left out, hidden, or in a folder that is hidden or made by the system:"
        f" {world}/night/.ipynb_checkpoints/a-checkpoint.png",
        f"night: 1 left out, of another format than *.png: {world}/night/c.webp",
    ]
    assert [note for note in summary["notes"] if "left out" in note and note.startswith("night: 1")] == expected
    log = (world / "prepare.log").read_text()
    assert all(note in log for note in expected)


@pytest.mark.fault(52, "a home and variables in the configuration are filled in, or refused by the key")
def test_paths_of_the_configuration_may_have_a_home_and_variables(prepare, section, world, monkeypatch):
    monkeypatch.setenv("HOME", str(world))
    monkeypatch.setenv("CITY", "Cityscapes")
    section["source"]["root"] = "~/$CITY"
    section["night"]["pairs"] = "~/DarkZurich/zurich_dn_pair_train.csv"
    assert len(read_manifest(prepare() / "source.csv")) == 2
    section["source"]["root"] = "$NO_SUCH_CITY/leftImg8bit"
    with pytest.raises(ConfigError, match=r"source.cityscapes.root: .*the environment has no variable NO_SUCH_CITY"):
        prepare()


def test_all_faults_of_all_sets_come_in_one_error_and_nothing_is_written(prepare, world):
    truncated = world / "Cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    truncated.write_bytes(truncated.read_bytes()[:44])
    image(world / "Cityscapes/gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png", "L", 99)
    (world / "Cityscapes/gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png").unlink()
    (world / "DarkZurich/rgb_anon/train/day/GOPR0374/GOPR0374_frame_000001_rgb_anon.png").unlink()
    image(world / "DarkZurich/gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png", "RGB")
    with pytest.raises(DataError) as caught:
        prepare()
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "data.source",
        "data.source",
        "data.night",
        "data.night",
        "data.night",
        "data.day_val",
        "data.night_val",
    ]
    for part in (
        "aachen_000000_000019_leftImg8bit.png",
        "id 99",
        "GOPR0374_frame_000001",
        "munster",
        "mode RGB",
    ):
        assert part in str(caught.value)
    assert not (world / "out").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"GOPR0356_frame_Z\xfcrich_rgb_anon.png", r"Z\xfcrich"), (b"GOPR0356_frame_a\nb_rgb_anon.png", r"a\nb")],
    ids=["not UTF-8", "line break"],
)
@pytest.mark.fault(78, "exit code 3 with the name, before anything is written")
@pytest.mark.fault(79, "exit code 3 with the name, before anything is written")
def test_a_name_that_no_table_can_hold_is_named_and_nothing_is_written(prepare, world, name, shown):
    folder = world / "DarkZurich/rgb_anon/val/night/GOPR0356"
    os.rename(next(folder.iterdir()), os.fsencode(folder) + b"/" + name)
    with pytest.raises(DataError) as raised:
        prepare()
    (line,) = str(raised.value).splitlines()
    assert line.startswith("data.night_val: ")
    assert shown in line
    assert "rename" in line
    assert not [path for path in (world / "out").rglob("*") if path.suffix != ".txt"]


def test_faults_of_a_tree_are_listed_with_the_faults_of_files(prepare, world, section):
    section["source"]["split"] = "test"
    (world / "DarkZurich/zurich_dn_pair_train.csv").write_text("train/night/a,\n")
    image(
        world / "DarkZurich/gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png",
        "L",
        10,
        (9, 16),
    )
    with pytest.raises(DataError) as caught:
        prepare()
    source, night, night_val = str(caught.value).splitlines()
    assert source.startswith("data.source: ")
    assert "leftImg8bit/test" in source
    assert night.startswith("data.night: ")
    assert "zurich_dn_pair_train.csv, line 1" in night
    assert "9x16" in night_val


def test_a_validation_set_whose_labels_are_all_void_is_a_fault(prepare, world):
    image(world / "Cityscapes/gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png", "L", 0)
    with pytest.raises(DataError, match="day_val: label .*munster.*every pixel is void"):
        prepare()


@pytest.mark.parametrize("name", ["source", "day_val", "night_val"])
def test_a_set_to_learn_from_or_to_measure_on_needs_labels(prepare, section, world, name):
    picture = world / "unlabelled.png"
    image(picture)
    section[name] = as_table(world, "mine", [(picture, "", "")])
    with pytest.raises(DataError, match=rf"{name}: image .*unlabelled\.png: it has no label map"):
        prepare()


def test_a_validation_image_that_is_trained_on_is_a_fault(prepare, section):
    section["day_val"] = section["source"]
    with pytest.raises(DataError, match="day_val: image .*aachen.*: it is in source too"):
        prepare()


@pytest.mark.parametrize("other", ["night", "day_val", "night_val"])
def test_a_test_image_that_is_adapted_to_or_chosen_on_is_a_fault(prepare, section, other):
    section["night_test"] = section["night_val"] = {**section["night_val"]}
    if other != "night_val":
        images = {"night": "DarkZurich/rgb_anon/train/night", "day_val": "Cityscapes/leftImg8bit/val"}[other]
        world = Path(section["source"]["root"]).parent
        section["night_test"] = labelled(world, "night_test", copied, sorted((world / images).rglob("*.png"))[:1])
    with pytest.raises(
        DataError, match=rf"data.night_test: image .*: it is in {other} too.*; test on images that noth"
    ):
        prepare()


def linked(path, names):
    """A folder of links to files, under other names."""
    path.mkdir()
    for number, name in enumerate(names):
        (path / f"{number}.png").symlink_to(name)
    return path


def copied(path, names):
    path.mkdir()
    for number, name in enumerate(names):
        shutil.copy(name, path / f"{number}.png")
    return path


def labelled(world, name, again, images):
    """The set `name` of the pictures `images` under second names, with labels."""
    folder = again(world / name, images)
    lines = []
    for number in range(len(images)):
        image(world / f"again_{number}.png", "L", 7)
        lines.append((folder / f"{number}.png", world / f"again_{number}.png", ""))
    return as_table(world, name, lines) | {"encoding": "labelIds"}


@pytest.mark.parametrize("again", [linked, copied])
@pytest.mark.parametrize("name", ["day_val", "night_val", "fog"])
@pytest.mark.fault(66, "each image is named with its twin, and nothing is written")
def test_an_image_that_is_trained_on_is_a_fault_in_every_set_measured_on_as_a_link_and_as_a_copy(
    prepare, section, world, again, name
):
    trained = sorted((world / "Cityscapes/leftImg8bit/train").rglob("*.png"))
    twins = labelled(world, name, again, trained)
    if name == "fog":
        section["night_tests"] = {"fog": twins}
    else:
        section[name] = twins
    key = "data.night_tests.fog" if name == "fog" else f"data.{name}"
    with pytest.raises(DataError) as caught:
        prepare()
    lines = str(caught.value).splitlines()
    assert len(lines) == len(trained)
    assert lines[0].startswith(
        f"{key}: image {world / name / '0.png'}: it is in source too (as {trained[0]}); measure on images that were not"
    )
    assert not (world / "out").exists()


@pytest.mark.parametrize("again", [linked, copied])
@pytest.mark.fault(66, "a night image among the day images is refused")
def test_a_night_image_among_the_day_images_is_a_fault_under_a_second_name_too(prepare, section, world, again):
    nights = sorted((world / "DarkZurich/rgb_anon/train/night").rglob("*.png"))
    folder = again(world / "day", nights[:1])
    section["day"] = as_table(world, "day", [(folder / "0.png", "", "")])
    with pytest.raises(DataError, match=rf"^data\.day: image .*0\.png: it is in night too \(as {nights[0]}\)"):
        prepare()


@pytest.mark.parametrize("again", [linked, copied])
@pytest.mark.fault(66, "images adapted to that are measured on are noted as transductive")
def test_night_images_that_are_measured_on_under_a_second_name_are_noted(prepare, section, world, again):
    night = next((world / "DarkZurich/rgb_anon/val/night").rglob("*.png"))
    folder = again(world / "mine", [night])
    section["night"] = as_table(world, "night", [(folder / "0.png", "", "")])
    notes = json.loads((prepare() / "summary.json").read_text())["notes"]
    [note] = [note for note in notes if "transductive" in note]
    assert note.startswith("night_val: 1 of its images are in night too: its scores are transductive")
    assert str(night) in note


@pytest.mark.fault(72, "label maps of other images in source are noted, by path and as links")
@pytest.mark.parametrize("linked", [False, True])
def test_label_maps_of_source_beside_other_images_are_noted(prepare, section, world, linked):
    label = next((world / "Cityscapes/gtFine/train").rglob("*.png"))
    if linked:
        (world / "link.png").symlink_to(label)
    image(world / "day.png")
    section["day_val"] = as_table(world, "day_val", [(world / "day.png", world / "link.png" if linked else label, "")])
    section["day_val"]["encoding"] = "labelIds"
    notes = json.loads((prepare() / "summary.json").read_text())["notes"]
    [note] = [note for note in notes if "label maps" in note and "day_val" in note]
    assert note.startswith("day_val: 1 of its label maps are those of other images in source")


def test_an_encoding_that_nobody_knows_is_a_fault_of_the_configuration(prepare, section, world):
    section["day_val"] = as_table(world, "day_val", [(world / "no.png", world / "no.png", "")]) | {
        "encoding": "labelids"
    }
    with pytest.raises(ConfigError, match="^data.day_val: class list: no label encoding 'labelids'; it has labelIds"):
        prepare()


def test_day_references_that_are_measured_on_are_noted(prepare, section, world):
    day = next((world / "DarkZurich/rgb_anon/train/day").rglob("*.png"))
    label = world / "day_label.png"
    image(label, "L", 7, (16, 9))
    section["day_val"] = as_table(world, "day_val", [(day, label, "")]) | {"encoding": "labelIds"}
    notes = json.loads((prepare() / "summary.json").read_text())["notes"]
    assert any(note.startswith("day_val: 1 of its images are day references of night too") for note in notes)


@pytest.mark.parametrize("again", [linked, copied])
@pytest.mark.fault(66, "images that two sets share and may share are noted")
def test_images_that_two_sets_share_where_they_may_are_noted(prepare, section, world, again):
    night = next((world / "DarkZurich/rgb_anon/val/night").rglob("*.png"))
    image(world / "label.png", "L", 7, (16, 9))
    fog = [(again(world / "fog", [night]) / "0.png", world / "label.png", "")]
    section["night_tests"] = {"fog": as_table(world, "fog", fog) | {"encoding": "labelIds"}}
    day = sorted((world / "Cityscapes/leftImg8bit/train").rglob("*.png"))[0]
    section["night"] = as_table(world, "night", [(again(world / "mine", [day]) / "0.png", "", "")])
    notes = json.loads((prepare() / "summary.json").read_text())["notes"]
    assert any(note.startswith("night_val: 1 of its images are in fog too") for note in notes)
    assert any(note.startswith("night: 1 of its images are in source too") for note in notes)


SIZES = {"size": [160, 80], "crop": [160, 80]}


def notes_of(prepare):
    return json.loads((prepare() / "summary.json").read_text())["notes"]


@pytest.mark.fault(71, "sets that are squeezed to the size that they get are noted, with a size that keeps their shape")
def test_a_set_that_is_squeezed_is_noted_with_the_key_and_a_size_that_keeps_its_shape(prepare, section, world):
    image(world / "upright.png", size=(4, 8))
    section["night"] = as_table(world, "night", [(world / "upright.png", "", "")])
    section["input"] = SIZES
    assert [note for note in notes_of(prepare) if "squeezed" in note] == [
        "night: 1 images of 4x8 (1:2) are squeezed to 160x80 (2:1); input.size: [80, 160] (with an input.crop that"
        " fits) would keep their shape",
        "night_val: 1 images of 16x9 (16:9) are squeezed to 160x80 (2:1); evaluate.sizes.night: [128, 72] would keep"
        " their shape",
    ]


def test_a_set_is_compared_with_the_size_that_it_gets(prepare, section):
    section |= {
        "input": SIZES | {"source_size": [64, 48]},
        "evaluate": {"sizes": {"night": [128, 72], "day": [160, 80]}},
    }
    assert [note.partition(";")[0] for note in notes_of(prepare) if "squeezed" in note] == [
        "source: 2 images of 8x4 (2:1) are squeezed to 64x48 (4:3)",
        "night: 3 images of 16x9 (16:9) are squeezed to 160x80 (2:1)",
    ]


def test_without_sizes_no_shape_is_compared(prepare):
    assert not any("squeezed" in note for note in notes_of(prepare))


def test_a_class_to_score_that_the_list_does_not_have_is_refused_before_any_training(prepare, section):
    section["evaluate"] = {"classes": {"night": ["road", "street"]}}
    with pytest.raises(ConfigError, match=r"evaluate\.classes\.night: no class street; the classes are road,"):
        prepare()


def test_what_the_check_notes_of_a_set_is_in_the_summary_and_the_log(prepare, section, world):
    image(world / "wide.png", size=(8, 4))
    image(world / "upright.png", size=(4, 8))
    section["night"] = as_table(world, "night", [(world / "wide.png", "", ""), (world / "upright.png", "", "")])
    start = "night: 1 of 2 images are upright and 1 are wide"
    assert any(note.startswith(start) for note in json.loads((prepare() / "summary.json").read_text())["notes"])
    assert start in (world / "prepare.log").read_text()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"encoding": "colours"}, {"road": 0.5, "sky": 0.5}),
        ({"encoding": "indices", "palette": "ignore"}, {"road": 0.5, "sidewalk": 0.5}),
        ({"encoding": "indices"}, "contradict the numbers"),
        ({"encoding": "labelIds"}, "contradict the numbers"),
    ],
)
@pytest.mark.fault(67, "the keys `encoding` and `palette` decide")
def test_a_label_map_with_a_palette_in_its_own_order_is_read_as_the_user_says(prepare, section, world, keys, expected):
    label = Image.frombytes("P", (8, 4), bytes([0] * 16 + [1] * 16))
    label.putpalette([70, 130, 180, 128, 64, 128])  # sky, road
    label.save(world / "mask.png")
    image(world / "mine.png")
    section["night_val"] = as_table(world, "night_val", [(world / "mine.png", world / "mask.png", "")]) | keys
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            prepare()
        return
    frequency = json.loads((prepare() / "summary.json").read_text())["sets"]["night_val"]["frequency"]
    assert {name: share for name, share in frequency.items() if share} == expected


@pytest.mark.parametrize("name", ["mask.png", "mask_labelIds.png", "mask_labelTrainIds.png"])
@pytest.mark.fault(65, "read as the user states, by whatever names, and with a class list of a few")
def test_label_ids_of_little_but_roads_are_read_as_the_user_states(prepare, section, world, name):
    (world / "keep.yaml").write_text("{base: cityscapes, keep: [road, pole]}")
    Image.frombytes("L", (8, 4), bytes([0] * 16 + [7] * 8 + [17] * 8)).save(world / name)
    image(world / "mine.png")
    section["night_val"] = as_table(world, "v", [(world / "mine.png", world / name, "")]) | {"encoding": "labelIds"}
    section["classes"] = str(world / "keep.yaml")
    image(world / "Cityscapes/gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png", "L", 17)
    frequency = json.loads((prepare() / "summary.json").read_text())["sets"]["night_val"]["frequency"]
    assert frequency == {"road": 0.5, "pole": 0.5}


def test_a_night_image_among_the_day_images_is_a_fault(prepare, section):
    section["day"] = section["night"]
    with pytest.raises(
        DataError, match=r"^data\.day: image .*GOPR0376.*: it is in night too.*; name images by day alone"
    ):
        prepare()


def test_pair_looks_among_the_day_images_then_the_references_then_the_source(prepare, section, world):
    picture, night = world / "day/a.png", world / "DarkZurich/rgb_anon/train/night/GOPR0376"
    image(picture)

    def candidates():
        return [(row.image.name, row.label, row.width) for row in read_manifest(prepare() / "day.csv")]

    assert candidates() == [("GOPR0374_frame_000001_rgb_anon.png", None, 16)]
    section["night"] = as_table(world, "mine", [(path, "", "") for path in sorted(night.iterdir())])
    names = ("aachen_000000_000019_leftImg8bit.png", "bochum_000000_000313_leftImg8bit.png")
    assert candidates() == [(name, None, 8) for name in names]
    section["day"] = as_table(world, "day", [(picture, "", "")])
    assert candidates() == [("a.png", None, 8)]
    assert json.loads((world / "out/summary.json").read_text())["sets"]["day"]["images"] == 1


def test_night_images_that_are_measured_on_too_are_allowed_but_noted(prepare, section, world):
    night = world / "DarkZurich/rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png"
    section["night"] = as_table(world, "mine", [(night, "", "")])
    summary = json.loads((prepare() / "summary.json").read_text())
    assert any("1 of its images are in night too: its scores are transductive" in note for note in summary["notes"])


def test_a_class_list_of_your_own_is_used_for_every_set(prepare, section, world):
    path = world / "classes.yaml"
    entries = [
        {"name": "road", "colour": [1, 2, 3], "ids": [7], "group": "static"},
        {"name": "car", "colour": [4, 5, 6], "ids": [26, 27], "group": "dynamic"},
    ]
    path.write_text(yaml.safe_dump({"encoding": "labelIds", "void": [0, 23, 255], "classes": entries}))
    section["classes"] = str(path)
    image(world / "DarkZurich/gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelIds.png", "L", 27, (16, 9))
    out = prepare()
    assert load_classes(out / "classes.json").names == ("road", "car")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["sets"]["source"]["frequency"] == {"road": 0.5, "car": 0.5}
    assert summary["sets"]["night_val"]["frequency"] == {"road": 0, "car": 1}


def test_a_missing_class_list_is_a_config_error(prepare, section, world):
    section["classes"] = str(world / "none.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        prepare()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"size": [256, 128]}, "size"),
        ({"classes": 19}, "classes"),
        ({"source": {"layout": "kitti", "root": "x"}}, "source"),
        ({"source": {"layout": "cityscapes", "root": "x", "split": "training"}}, "source"),
        (
            {"source": {"layout": "cityscapes", "root": "x", "split": "train", "pairs": "y"}},
            "source.cityscapes.pairs",
        ),
        ({"night": {"layout": "table", "root": "x"}}, "night.table"),
        ({"night": {"layout": "dark_zurich", "root": 3, "split": "train"}}, "night.dark_zurich.root"),
        ({"validation": {}}, "validation"),
    ],
)
def test_a_wrong_section_is_refused_by_the_key(section, change, key):
    with pytest.raises(ConfigError, match=key):
        parse_section(section | change, Config, "config.yaml")


def test_the_class_list_is_required(section):
    with pytest.raises(ConfigError, match="classes: Field required"):
        parse_section({key: value for key, value in section.items() if key != "classes"}, Config, "c.yaml")


def test_the_command_line_prints_the_faults_alone_and_exits_with_the_code_of_data_errors(world, section):
    (world / "config.yaml").write_text(yaml.safe_dump(section))
    label = world / "Cityscapes/gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png"
    label.write_bytes(b"")
    arguments = ["--config", "config.yaml", "--town", "town.json", "--workers", "2", "--log", "prepare.log"]
    for output in OUTPUTS:
        arguments += [f"--{output.split('.')[0].replace('_', '-')}", f"out/{output}"]
    command = [sys.executable, "-m", "loopda.stages.prepare", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(command, cwd=world, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert result.stderr.startswith("DataError: data.day_val: label ")
    assert "Traceback" not in result.stderr
    assert str(label) in (world / "prepare.log").read_text()
    image(label, "L", 7)
    assert subprocess.run(command, cwd=world, env=environment, check=False).returncode == 0
    assert len(read_manifest(world / "out/source.csv")) == 2
