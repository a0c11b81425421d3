from pathlib import Path

import pytest
from PIL import Image

from loopda.data.camvid import run
from loopda.data.checks import check_rows
from loopda.data.layouts.table import TableLayout
from loopda.errors import DataError
from loopda.labels.class_files import read_classes

CLASSES = Path(__file__).parents[2] / "workflow/config/camvid/classes.yaml"
SPLITS = {
    "day_train": ["0006R0_f00930", "0006R0_f00960"],
    "day_val": ["0016E5_07959"],
    "day_test": ["Seq05VD_f00000"],
    "night_train": ["0001TP_006690"],
    "night_test": [f"0001TP_{number:06d}" for number in range(8550, 8550 + 30 * 8, 30)],
}


@pytest.fixture
def root(tmp_path):
    for split, names in SPLITS.items():
        domain = split.split("_")[0]
        (tmp_path / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            image = tmp_path / domain / "images" / f"{name}.{'jpg' if domain == 'day' else 'png'}"
            label = tmp_path / domain / "labels" / f"{name}.png"
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(image)
            Image.new("L", (8, 6), 13).save(label)
    return tmp_path


def test_the_tables_hold_their_splits_and_pass_the_check(root, tmp_path):
    run(root=root, out=tmp_path / "out")
    classes = read_classes(CLASSES)
    for table, split in {
        "source": "day_train",
        "day_val": "day_val",
        "day_test": "day_test",
        "night": "night_train",
        "oracle": "night_train",
    }.items():
        labelled = table != "night"
        layout = TableLayout(layout="table", csv=tmp_path / "out" / f"{table}.csv")
        found = layout.rows(classes, labelled=labelled)
        assert [row.image.stem for row in found] == SPLITS[split]
        assert {row.label is not None for row in found} == {labelled}
        assert {row.reference for row in found} == {None}
        assert check_rows(found, classes, labelled=labelled).faults == []


def test_validation_and_test_at_dusk_are_the_first_and_the_last_frames_of_the_drive_with_a_gap(root, tmp_path):
    names = SPLITS["night_test"]
    (root / "night_test.txt").write_text("".join(f"{name}\n" for name in reversed(names)))
    run(root=root, out=tmp_path / "out")
    found = []
    for table in ("night_val", "night_test"):
        layout = TableLayout(layout="table", csv=tmp_path / "out" / f"{table}.csv")
        rows = layout.rows(read_classes(CLASSES), labelled=True)
        found.append([row.image.stem for row in rows])
    assert found == [names[:2], names[-2:]]
    (root / "night_test.txt").write_text("".join(f"{name}\n" for name in names[:5]))
    with pytest.raises(DataError, match="night_test.txt: 5 frames; it takes 6"):
        run(root=root, out=tmp_path / "out")


def test_the_tables_hold_absolute_paths_so_that_they_can_lie_anywhere(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    run(root=Path(), out=Path("out"))
    for table in Path("out").glob("*.csv"):
        for line in table.read_text().splitlines()[1:]:
            assert line.startswith(f"{root}/")


def test_another_layout_is_a_data_error_that_says_what_is_expected_and_writes_nothing(tmp_path):
    (tmp_path / "701_StillsRaw_full").mkdir()
    with pytest.raises(DataError, match="expected {day,night}/images/") as caught:
        run(root=tmp_path, out=tmp_path / "out")
    assert all(f"{split}.txt: no such list" in str(caught.value) for split in SPLITS)
    assert not (tmp_path / "out").exists()


def test_each_missing_image_and_label_is_named(root, tmp_path):
    (root / "night/images/0001TP_006690.png").unlink()
    (root / "day/labels/0006R0_f00930.png").unlink()
    (root / "night_test.txt").write_text("")
    with pytest.raises(DataError) as caught:
        run(root=root, out=tmp_path / "out")
    for fault in (
        "0001TP_006690.png: no such file, nor one that ends in .jpg",
        "0006R0_f00930.png: no such file",
        "night_test.txt: no names",
    ):
        assert fault in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_labels_of_the_dusk_training_frames_may_be_missing_and_the_oracle_with_them(root, tmp_path, capsys):
    (root / "night/labels/0001TP_006690.png").unlink()
    run(root=root, out=tmp_path / "out")
    assert (tmp_path / "out/night.csv").exists()
    assert not (tmp_path / "out/oracle.csv").exists()
    assert "oracle.csv is left out" in (told := capsys.readouterr().err)
    assert "0001TP_006690.png: no such file" in told


def test_the_class_list_has_the_eleven_classes_of_camvid_in_their_groups():
    classes = read_classes(CLASSES)
    assert len(classes) == 11
    assert {classes.names[index] for index in classes.dynamic} == {"person", "rider", "car"}
    assert {classes.names[index] for index in classes.ssc} == {"pole", "sign"}
    [encoding] = classes.encodings
    assert {3, 6, 9, *range(14, 19)} <= classes.unknown_ids(encoding)
