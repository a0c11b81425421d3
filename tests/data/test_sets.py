from pathlib import Path

import pytest
from PIL import Image

from loopda.data.layouts import FolderLayout
from loopda.data.sets import check_set, read_checked_set
from loopda.labels.classes import CITYSCAPES


@pytest.fixture
def folder(tmp_path):
    """One wide image and one upright, whose labels have a palette in another order than the class list."""
    for number, size in enumerate([(8, 4), (4, 8)]):
        Image.new("RGB", size, (number,) * 3).save(tmp_path / f"{number}.jpg")
        label = Image.new("P", size, 1)
        label.putpalette([70, 130, 180, 128, 64, 128])  # sky, road
        label.save(tmp_path / f"{number}_mask.png")
    return tmp_path


def layout(root: Path, **more: str) -> FolderLayout:
    return FolderLayout(layout="folder", root=root, images="*.jpg", labels="{stem}_mask.png", **more)


@pytest.mark.fault(71, "the note of a set that was checked before is kept")
def test_what_was_noted_of_a_set_is_read_again_with_it(folder, tmp_path):
    data_set = check_set(layout(folder, encoding="indices", palette="ignore"), CITYSCAPES, labelled=True, workers=1)
    assert [note.partition(" ")[0] for note in data_set.checked.notes] == ["label", "1"]
    out = tmp_path / "out"
    data_set.write(manifest=out / "m.csv", references=out / "r.csv", found=out / "found.json")
    again = read_checked_set(out / "found.json").checked
    assert again.notes == data_set.checked.notes
    assert [row.image_content for row in again.rows] == [row.image_content for row in data_set.checked.rows]


@pytest.mark.parametrize("encoding", ["indices", "labelIds"])
@pytest.mark.fault(67, "a stated encoding does not silence it")
def test_a_stated_encoding_does_not_silence_a_palette_that_contradicts_it(folder, encoding):
    [fault] = check_set(layout(folder, encoding=encoding), CITYSCAPES, labelled=True, workers=1).checked.faults
    assert "contradict" in fault
