from pathlib import Path

import pytest
from PIL import Image

from loopda.data.checks import check_rows
from loopda.data.layouts.dark_zurich import PAIRS, DarkZurichLayout
from loopda.data.skipped import collect_skipped
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES

TRAIN = [
    ("train/night/GOPR0351/GOPR0351_frame_000101", "train/day/GOPR0345/GOPR0345_frame_000201"),
    ("train/night/GOPR0376/GOPR0376_frame_000102", "train/day/GOPR0374/GOPR0374_frame_000301"),
    ("train/night/GOPR0376/GOPR0376_frame_000001", "train/day/GOPR0374/GOPR0374_frame_000301"),
]
VAL = ["GOPR0356_frame_000324", "GOPR0356_frame_000321"]


def rows(root, split, classes, *, labelled, pairs=None):
    layout = DarkZurichLayout(layout="dark_zurich", root=root, split=split, pairs=pairs)
    return layout.rows(classes, labelled=labelled)


def image(path, mode="RGB", value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (16, 9), value).save(path)
    return path


def write_train(folder):
    for night, day in TRAIN:
        image(folder / f"rgb_anon/{night}_rgb_anon.png")
        image(folder / f"rgb_anon/{day}_rgb_anon.png")


def write_val(folder):
    for name in VAL:
        image(folder / f"rgb_anon/val/night/GOPR0356/{name}_rgb_anon.png")
        image(folder / f"rgb_anon/val_ref/day/GOPR0356_ref/{name}_ref_rgb_anon.png")
        image(folder / f"gt/val/night/GOPR0356/{name}_gt_labelIds.png", "L", 7)
        image(folder / f"gt/val/night/GOPR0356/{name}_gt_labelTrainIds.png", "L", 0)
        image(folder / f"gt/val/night/GOPR0356/{name}_gt_labelColor.png", "RGBA")


def write_pairs(path, pairs=TRAIN):
    path.write_text("".join(f"{night},{day}\n" for night, day in pairs))


@pytest.fixture
def merged(tmp_path):
    """All archives in one folder, as DAFormer and Refign want them."""
    root = tmp_path / "dark_zurich"
    write_train(root)
    write_val(root)
    write_pairs(root / PAIRS)
    return root


@pytest.fixture
def unmerged(tmp_path):
    """Each archive in its own folder, as DANNet and LoopDA want them."""
    root = tmp_path / "DarkZurich"
    write_train(root / "Dark_Zurich_train_anon")
    write_val(root / "Dark_Zurich_val_anon")
    image(root / "Dark_Zurich_test_anon_withoutGt/rgb_anon/test/night/GP010364/GP010364_frame_1_rgb_anon.png")
    write_pairs(root / PAIRS)
    return root


@pytest.fixture(params=["merged", "unmerged"])
def root(request):
    return request.getfixturevalue(request.param)


def test_training_images_are_the_pairs_of_the_list_in_its_order_without_labels(root):
    found = rows(root, "train", CITYSCAPES, labelled=False)
    assert [row.image.name.removesuffix("_rgb_anon.png") for row in found] == [
        night.split("/")[-1] for night, _ in TRAIN
    ]
    assert [row.reference.name.removesuffix("_rgb_anon.png") for row in found] == [
        day.split("/")[-1] for _, day in TRAIN
    ]
    assert {(row.label, row.encoding) for row in found} == {(None, "")}
    assert check_rows(found, CITYSCAPES, labelled=False).faults == []


def test_validation_images_come_sorted_with_label_ids_and_references(root):
    found = rows(root, "val", CITYSCAPES, labelled=True)
    assert [row.image.name for row in found] == [f"{name}_rgb_anon.png" for name in sorted(VAL)]
    assert [row.label.name for row in found] == [f"{name}_gt_labelIds.png" for name in sorted(VAL)]
    assert [row.reference.name for row in found] == [f"{name}_ref_rgb_anon.png" for name in sorted(VAL)]
    assert {row.encoding for row in found} == {"labelIds"}
    assert check_rows(found, CITYSCAPES, labelled=True).faults == []


def test_validation_labels_may_be_train_ids_alone(root):
    for path in root.rglob("*_gt_labelIds.png"):
        path.unlink()
    found = rows(root, "val", CITYSCAPES, labelled=True)
    assert {row.encoding for row in found} == {"labelTrainIds"}
    assert check_rows(found, CITYSCAPES, labelled=True).faults == []


def test_validation_images_may_have_no_references(root):
    for path in root.rglob("*_ref_rgb_anon.png"):
        path.unlink()
    found = rows(root, "val", CITYSCAPES, labelled=True)
    assert {row.reference for row in found} == {None}


def test_hidden_files_that_archivers_leave_are_neither_images_nor_references(merged):
    for path in list(merged.rglob("*_rgb_anon.png")):
        path.with_name(f"._{path.name}").write_bytes(b"junk")
    found = rows(merged, "val", CITYSCAPES, labelled=True)
    assert check_rows(found, CITYSCAPES, labelled=True).faults == []
    assert [row.reference.name for row in found] == [f"{name}_ref_rgb_anon.png" for name in sorted(VAL)]


def test_two_references_of_one_frame_are_refused_by_name(merged):
    folder = merged / "rgb_anon/val_ref/day/GOPR0356_ref"
    image(folder / f"{VAL[0]}_other_rgb_anon.png")
    with pytest.raises(DataError, match=f"{VAL[0]}_other_rgb_anon.png: 2 files of this frame"):
        rows(merged, "val", CITYSCAPES, labelled=True)


def test_a_missing_validation_label_is_named_by_the_file_to_expect(merged):
    for kind in ("labelIds", "labelTrainIds"):
        (merged / f"gt/val/night/GOPR0356/{VAL[0]}_gt_{kind}.png").unlink()
    checked = check_rows(rows(merged, "val", CITYSCAPES, labelled=True), CITYSCAPES, labelled=True)
    [fault] = checked.faults
    assert f"{VAL[0]}_gt_labelIds.png: no such file" in fault


def test_a_missing_reference_of_a_training_pair_is_named(root):
    for path in root.rglob("GOPR0345_frame_000201_rgb_anon.png"):
        path.unlink()
    checked = check_rows(rows(root, "train", CITYSCAPES, labelled=False), CITYSCAPES, labelled=False)
    [fault] = checked.faults
    assert "GOPR0345_frame_000201_rgb_anon.png: no such file" in fault
    assert "GOPR0351_frame_000101_rgb_anon.png" in fault


def test_the_pair_list_may_lie_beside_the_root_or_be_named(merged):
    elsewhere = merged.parent / "lists.csv"
    write_pairs(elsewhere, TRAIN[:1])
    assert len(rows(merged, "train", CITYSCAPES, labelled=False, pairs=elsewhere)) == 1
    (merged / PAIRS).rename(merged.parent / PAIRS)
    assert len(rows(merged, "train", CITYSCAPES, labelled=False)) == 3


def test_the_pair_list_beside_the_root_is_found_from_inside_the_root_too(merged, monkeypatch):
    (merged / PAIRS).rename(merged.parent / PAIRS)
    monkeypatch.chdir(merged)
    assert len(rows(Path(), "train", CITYSCAPES, labelled=False)) == 3


def test_a_missing_pair_list_is_a_data_error_that_says_how_to_name_it(root):
    (root / PAIRS).unlink()
    with pytest.raises(DataError, match=f"{PAIRS}: no such pair list.*`pairs:`"):
        rows(root, "train", CITYSCAPES, labelled=False)
    with pytest.raises(DataError, match=r"mine\.csv: no such pair list"):
        rows(root, "train", CITYSCAPES, labelled=False, pairs=root / "mine.csv")


@pytest.mark.parametrize("bad", ["", ",", "a/b,", ",a/b", "a/b", "a,b,c"])
def test_every_line_that_is_no_pair_is_named_by_its_number(merged, bad):
    lines = (merged / PAIRS).read_text().splitlines()
    (merged / PAIRS).write_text("\n".join([lines[0], bad, *lines[1:], bad]) + "\n")
    with pytest.raises(DataError) as caught:
        rows(merged, "train", CITYSCAPES, labelled=False)
    assert [line.split(":")[0].split(", ")[1] for line in str(caught.value).splitlines()] == [
        "line 2",
        "line 5",
    ]


def test_an_empty_pair_list_is_a_data_error(merged):
    (merged / PAIRS).write_text("")
    with pytest.raises(DataError, match="no pairs in it"):
        rows(merged, "train", CITYSCAPES, labelled=False)


def test_a_pair_list_in_the_other_order_is_a_fault_before_day_images_become_night(merged):
    write_pairs(merged / PAIRS, [(day, night) for night, day in TRAIN[:2]])
    with pytest.raises(DataError) as caught:
        rows(merged, "train", CITYSCAPES, labelled=False)
    assert [f"line {n}: the day image stands first; a line is `night,day`" in str(caught.value) for n in (1, 2, 3)] == [
        True,
        True,
        False,
    ]


def test_a_pair_listed_twice_is_a_fault(merged):
    write_pairs(merged / PAIRS, [*TRAIN, TRAIN[0]])
    checked = check_rows(rows(merged, "train", CITYSCAPES, labelled=False), CITYSCAPES, labelled=False)
    [fault] = checked.faults
    assert "GOPR0351_frame_000101_rgb_anon.png: it is listed 2 times with the same reference" in fault


def test_an_empty_split_is_a_data_error(merged):
    (merged / "rgb_anon/test/night").mkdir(parents=True)
    with pytest.raises(DataError, match="rgb_anon/test/night: no <recording>"):
        rows(merged, "test", CITYSCAPES, labelled=False)


def test_a_wrong_root_says_what_the_root_must_hold(tmp_path):
    with pytest.raises(DataError, match="`root` must be the folder that holds rgb_anon/"):
        rows(tmp_path / "nowhere", "train", CITYSCAPES, labelled=False)


@pytest.mark.fault(53, "a list of pairs of another tree is one line, not one for each of thousands of files")
def test_a_pair_list_of_another_tree_is_one_line(merged):
    lines = [f"train/night/OTHER/OTHER_frame_{n:06d},train/day/OTHER/OTHER_frame_{n:06d}\n" for n in range(2416)]
    (merged / PAIRS).write_text("".join(lines))
    with pytest.raises(DataError) as caught:
        rows(merged, "train", CITYSCAPES, labelled=False)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{merged / PAIRS}: of the 2416 files that it names 2416 are not there, such as {merged}")
    assert "and 2413 more: it belongs to another tree; correct `root`, or name that of this tree with `pairs:`" in line


@pytest.mark.fault(53, "labels of Dark Zurich's test images: one line says that they are not public")
@pytest.mark.parametrize(
    ("split", "why"), [("train", "were published"), ("test", "are not public: measure on `split: val")]
)
def test_labels_that_were_never_published_are_one_line_that_says_so(merged, split, why):
    for number in range(151):
        image(merged / f"rgb_anon/{split}/night/GOPR0364/GOPR0364_frame_{number:06d}_rgb_anon.png")
    pairs = "".join(
        f"train/night/GOPR0364/GOPR0364_frame_{n:06d},train/night/GOPR0364/GOPR0364_frame_{n:06d}\n" for n in range(151)
    )
    (merged / PAIRS).write_text(pairs)
    with pytest.raises(DataError, match="none of the 15[0-9] label maps is there") as caught:
        rows(merged, split, CITYSCAPES, labelled=True)
    [line] = str(caught.value).splitlines()
    assert why in line


@pytest.mark.fault(49, "night images without a pair, and references and labels without an image, are said")
def test_what_belongs_to_no_image_is_said(merged):
    extra = image(merged / "rgb_anon/train/night/GOPR0376/GOPR0376_frame_000999_rgb_anon.png")
    with collect_skipped() as left_out:
        rows(merged, "train", CITYSCAPES, labelled=False)
    assert any(line.startswith(f"1 left out, not named by {PAIRS}: {extra or merged}") for line in left_out.lines())
    image(merged / "gt/val/night/GOPR0356/GOPR0356_frame_000999_gt_labelIds.png", "L")
    image(merged / "rgb_anon/val_ref/day/GOPR0356_ref/GOPR0356_frame_000999_ref_rgb_anon.png")
    with collect_skipped() as left_out:
        rows(merged, "val", CITYSCAPES, labelled=True)
    said = [line.partition(":")[0] for line in left_out.lines()]
    assert said == ["1 left out, references without an image", "1 left out, label maps without an image"]


@pytest.mark.fault(51, "the list of pairs beside a linked root is found")
def test_the_pair_list_beside_a_linked_root_or_beside_the_link_is_found(merged, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dark_zurich").symlink_to(merged)
    (merged / PAIRS).rename(merged.parent / PAIRS)
    expected = len(rows(merged, "train", CITYSCAPES, labelled=False))
    assert len(rows(elsewhere / "dark_zurich", "train", CITYSCAPES, labelled=False)) == expected
    (merged.parent / PAIRS).rename(elsewhere / PAIRS)
    assert len(rows(elsewhere / "dark_zurich", "train", CITYSCAPES, labelled=False)) == expected
