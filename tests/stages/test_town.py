"""The stage `town`: files, names, lists, the same bytes every time."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loopda.config import parse_section
from loopda.data.checks import check_rows
from loopda.data.layouts import CityscapesLayout, DarkZurichLayout, TableLayout
from loopda.errors import ConfigError, DeviceError
from loopda.labels.classes import CITYSCAPES
from loopda.stages import town
from loopda.town import write

SMALL = {"width": 64, "height": 32, "source_train": 12, "source_val": 12, "night_train": 14, "night_val": 12}

NAMES = [
    r"Cityscapes/leftImg8bit/(train|val)/([a-z]+)/\2_\d{6}_\d{6}_leftImg8bit\.png",
    r"Cityscapes/gtFine/(train|val)/([a-z]+)/\2_\d{6}_\d{6}_gtFine_(labelIds|color)\.png",
    r"DarkZurich/rgb_anon/train/(night|day)/(G[A-Z0-9]+)/\2_frame_\d{6}_rgb_anon\.png",
    r"DarkZurich/rgb_anon/val/night/(G[A-Z0-9]+)/\1_frame_\d{6}_rgb_anon\.png",
    r"DarkZurich/rgb_anon/val_ref/day/(G[A-Z0-9]+)_ref/\1_frame_\d{6}_ref_rgb_anon\.png",
    r"DarkZurich/gt/val/night/(G[A-Z0-9]+)/\1_frame_\d{6}_gt_(labelIds|labelTrainIds|labelColor)\.png",
    r"DarkZurich/zurich_dn_pair_train\.csv",
    r"oracle/(G[A-Z0-9]+)/\1_frame_\d{6}_gt_labelIds\.png|oracle/night\.csv",
    r"poses\.csv|contact_sheet\.png|town\.json|town\.(?:log|progress\.json|made\.json)",
]


def build(root: Path, *, workers: int = 1, **changes: int) -> dict:
    config = parse_section({**SMALL, **changes}, town.Config, "test")
    root.mkdir(parents=True, exist_ok=True)
    outputs = {
        "summary": root / "town.json",
        "poses": root / "poses.csv",
        "oracle": root / "oracle/night.csv",
        "sheet": root / "contact_sheet.png",
    }
    town.run(config=config, **outputs, log=root / "town.log", workers=workers)
    return json.loads((root / "town.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("town")
    build(root)
    return root


def label_maps(root: Path, pattern: str) -> list[np.ndarray]:
    table = CITYSCAPES.lookup_table("labelIds")
    return [table[np.asarray(Image.open(path))] for path in sorted(root.glob(pattern))]


def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    few = {"source_train": 3, "source_val": 1, "night_train": 3, "night_val": 2}
    one = build(tmp_path / "one", workers=1, **few)
    assert one == build(tmp_path / "two", workers=2, **few)
    assert one["sha256"] != build(tmp_path / "other", seed=1, **few)["sha256"]


def test_test_images_are_of_other_places_and_change_no_file_of_the_other_splits(tmp_path: Path) -> None:
    few = {"source_train": 2, "source_val": 2, "night_train": 2, "night_val": 2}
    build(tmp_path / "without", **few)
    summary = build(tmp_path / "with", **few, day_test=2, night_test=2)
    without, whole = (
        {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        for root in (
            tmp_path / "without",
            tmp_path / "with",
        )
    )
    others = {name for name in without if not name.name.startswith("town.")}
    assert all(whole[name].read_bytes() == without[name].read_bytes() for name in others)
    added = sorted(str(name) for name in whole.keys() - without.keys())
    assert len([name for name in added if "/leftImg8bit/test/" in name]) == summary["images"]["source_test"] == 2
    assert len([name for name in added if "/rgb_anon/test/night/" in name]) == summary["images"]["night_test"] == 2
    assert not any("_ref" in name for name in added), "day references of test images"
    for layout, folder in ((CityscapesLayout, "Cityscapes"), (DarkZurichLayout, "DarkZurich")):
        name = {CityscapesLayout: "cityscapes", DarkZurichLayout: "dark_zurich"}[layout]
        rows = {
            split: layout(layout=name, root=tmp_path / "with" / folder, split=split).rows(
                CITYSCAPES, labelled=split != "train" or name == "cityscapes"
            )
            for split in ("train", "val", "test")
        }
        assert check_rows(rows["test"], CITYSCAPES, labelled=True).faults == []
        seen = {row.image.read_bytes() for split in ("train", "val") for row in rows[split]}
        assert not seen & {row.image.read_bytes() for row in rows["test"]}


def test_every_file_has_a_name_of_its_data_set(root: Path) -> None:
    files = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    assert [name for name in files if not any(re.fullmatch(pattern, name) for pattern in NAMES)] == []
    for pattern in NAMES:
        assert any(re.fullmatch(pattern, name) for name in files), pattern


def test_the_pair_list_names_every_night_once_and_only_files_that_exist(root: Path) -> None:
    rows = [line.split(",") for line in (root / "DarkZurich/zurich_dn_pair_train.csv").read_text().splitlines()]
    base = root / "DarkZurich" / "rgb_anon"
    nights = sorted(str(path.relative_to(base)) for path in base.glob("train/night/*/*.png"))
    assert [f"{night}_rgb_anon.png" for night, _ in sorted(rows)] == nights
    assert all((base / f"{day}_rgb_anon.png").is_file() for _, day in rows)
    assert len({day for _, day in rows}) < len(rows), "some nights share a reference, as in the real list"
    assert not list((root / "DarkZurich/gt").glob("train*")), "training nights are unlabelled"


def test_the_oracle_has_the_true_labels_of_every_night_of_training_in_a_place_of_its_own(root: Path) -> None:
    config = parse_section(SMALL, town.Config, "test")
    size = {"width": config.width, "height": config.height, "supersample": config.supersample}
    pairs = write.dark_zurich_pairs("train", config.night_train, seed=config.seed, near_fraction=config.near_fraction)
    head, *lines = (root / "oracle/night.csv").read_text().splitlines()
    assert head == "image,label"
    table = CITYSCAPES.lookup_table("labelIds")
    for line, pair in zip(lines, pairs, strict=True):
        image, label = (root / "oracle" / name for name in line.split(","))
        picture, truth = write.draw(pair.night, seed=config.seed, **size)
        assert np.array_equal(np.asarray(Image.open(image)), picture)
        assert np.array_equal(table[np.asarray(Image.open(label))], truth)
    assert len(list(root.glob("oracle/*/*.png"))) == len(lines)


@pytest.mark.fault(51, "the town's own table leads to its files from a linked folder")
def test_the_oracle_in_a_linked_folder_leads_to_the_images(tmp_path: Path) -> None:
    (tmp_path / "town").mkdir()
    (tmp_path / "disk/deep/oracle").mkdir(parents=True)
    (tmp_path / "town/oracle").symlink_to(tmp_path / "disk/deep/oracle")
    build(tmp_path / "town", source_train=1, source_val=1, night_train=1, night_val=1)
    oracle = TableLayout(layout="table", csv=tmp_path / "town/oracle/night.csv")
    [row] = oracle.rows(CITYSCAPES, labelled=True)
    assert row.image.is_file()
    assert row.label.is_file()


def test_the_labels_of_the_oracle_are_no_part_of_the_town_of_which_its_fingerprint_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"source_train": 1, "source_val": 1, "night_train": 2, "night_val": 1}
    whole, save = build(tmp_path / "one", **few), write._save
    monkeypatch.setattr(write, "_save", lambda path, array: save(path, array * ("oracle" not in path.parts)))
    assert build(tmp_path / "other", **few) == whole
    labels = [next((tmp_path / name).glob("oracle/*/*.png")).read_bytes() for name in ("one", "other")]
    assert labels[0] != labels[1]


def test_the_poses_tell_near_pairs_from_far_ones(root: Path) -> None:
    rows = [line.split(",") for line in (root / "poses.csv").read_text().splitlines()[1:]]
    metres, degrees = np.array([row[2] for row in rows], float), np.array([row[3] for row in rows], float)
    near = (metres < 0.3) & (degrees < 1.0)
    assert 0.4 < near.mean() < 0.6
    assert (metres[~near] > 0.9).all()
    assert metres.max() < 13


@pytest.mark.parametrize(
    "pattern",
    [
        f"{split}/*/*_labelIds.png"
        for split in ("Cityscapes/gtFine/train", "Cityscapes/gtFine/val", "DarkZurich/gt/val/night")
    ],
)
def test_every_class_is_in_several_images_of_each_labelled_split(root: Path, pattern: str) -> None:
    maps = label_maps(root, pattern)
    assert len(maps) == 12
    images = {name: sum((label == index).any() for label in maps) for index, name in enumerate(CITYSCAPES.names)}
    assert {name: count for name, count in images.items() if count < 2} == {}


def test_frequencies_have_the_long_tail_of_driving(root: Path) -> None:
    summary = json.loads((root / "town.json").read_text())
    for split, values in summary["frequency"].items():
        share = dict(zip(summary["classes"], values, strict=True))
        assert sum(values) == pytest.approx(1, abs=1e-4)
        assert share["road"] > 0.2, split
        assert sum(share[name] for name in ("road", "building", "vegetation", "sky")) > 0.6, split
        rare = ("traffic light", "traffic sign", "rider", "motorcycle", "bicycle", "pole")
        assert all(share[name] < 0.04 for name in rare), split
        assert max(values) > 50 * min(values), split


def test_the_two_encodings_of_a_night_label_agree_and_the_own_car_is_void_by_day(root: Path) -> None:
    table = CITYSCAPES.lookup_table("labelIds")
    for path in root.glob("DarkZurich/gt/val/night/*/*_labelIds.png"):
        ids, train_ids = (
            np.asarray(Image.open(path)),
            np.asarray(Image.open(str(path).replace("labelIds", "labelTrainIds"))),
        )
        assert (table[ids] == train_ids).all()
        colours = np.asarray(Image.open(str(path).replace("labelIds", "labelColor")))
        assert (colours == CITYSCAPES.colour_map(train_ids)).all()
    raw = np.stack([np.asarray(Image.open(path)) for path in root.glob("Cityscapes/gtFine/*/*/*_labelIds.png")])
    assert (raw[:, -1, 32] == write.EGO_VEHICLE).all()
    assert not (raw[:, :25] == write.EGO_VEHICLE).any()
    assert set(np.unique(table[raw])) <= {*range(19), 255}


@pytest.mark.fault(9, "the town has no summary until it is whole, and a rerun mends it")
def test_an_interrupted_run_leaves_no_summary_and_a_rerun_completes_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"source_train": 2, "source_val": 1, "night_train": 1, "night_val": 1}
    whole = build(tmp_path, **few)
    drawn, draw = [], write.draw

    def broken(*args: object, **options: object) -> object:
        if len(drawn) == 2:
            raise OSError("disk full")
        drawn.append(args)
        return draw(*args, **options)

    monkeypatch.setattr(write, "draw", broken)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path, **few)
    assert not (tmp_path / "town.json").exists()
    monkeypatch.undo()
    assert build(tmp_path, **few) == whole


def test_a_smaller_town_removes_what_a_larger_one_left_but_no_stranger(tmp_path: Path) -> None:
    few = {"source_train": 3, "source_val": 1, "night_train": 2, "night_val": 1}
    build(tmp_path, **few)
    stranger = tmp_path / "Cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    stranger.parent.mkdir()
    stranger.write_bytes(b"real")
    build(tmp_path, **{**few, "source_train": 1})
    left = [path.parent.name for path in tmp_path.glob("Cityscapes/leftImg8bit/train/*/*.png")]
    assert sorted(left) == ["aachen", "altenfurt"]


def test_progress_reaches_the_log(root: Path) -> None:
    assert re.search(r"frame (\d+)/\1  [\d.]+ frames/s  0:00:00 left", (root / "town.log").read_text())


def test_a_config_out_of_bounds_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="near_fraction"):
        parse_section({"near_fraction": 1.5}, town.Config, "test")
    with pytest.raises(ConfigError, match="hight"):
        parse_section({"hight": 128}, town.Config, "test")


@pytest.mark.fault(32, "a drawing process that is killed ends the town with exit code 4 and what to do")
def test_a_killed_worker_ends_the_town_with_a_remedy() -> None:
    with pytest.raises(DeviceError, match="use fewer --workers"):
        list(town._drawn(os._exit, [1, 2], 2))
