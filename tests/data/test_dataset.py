import numpy as np
import pytest
from PIL import Image

from loopda.config import parse_section
from loopda.data import dataset
from loopda.data.dataset import Frames, Input, open_frames, resize_label
from loopda.data.manifest import Row, write_manifest
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import write_classes
from loopda.labels.classes import CITYSCAPES

SIZE = (16, 12)  # half of the files' width and height


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    paths = {}
    for name in ("a", "b", "reference"):
        paths[name] = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(paths[name])
    ids = rng.choice(np.array([0, 7, 8, 11, 26, 33], dtype=np.uint8), (24, 32))
    Image.fromarray(ids).save(tmp_path / "a_labelIds.png")
    return [
        Row(paths["a"], tmp_path / "a_labelIds.png", None, "labelIds", 32, 24),
        Row(paths["b"], None, paths["reference"], "", 32, 24),
    ]


@pytest.fixture(params=["in memory", "on demand"])
def frames(request, rows, monkeypatch):
    if request.param == "on demand":
        monkeypatch.setattr(dataset, "MEMORY", 0)
    return Frames(rows, CITYSCAPES, SIZE)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_images_are_resized_by_pillows_bicubic_filter(frames, rows):
    for index, path in enumerate([rows[0].image, rows[1].image]):
        expected = Image.fromarray(read(path)).resize(SIZE, Image.Resampling.BICUBIC)
        assert np.array_equal(frames.image(index), np.asarray(expected))
        assert frames.image(index).shape == (12, 16, 3)


def test_an_image_of_the_right_size_is_left_as_it_is(rows):
    assert np.array_equal(Frames(rows, CITYSCAPES, (32, 24)).image(1), read(rows[1].image))


def test_a_label_is_there_at_the_size_of_its_file_too(frames, rows):
    table = {7: 0, 8: 1, 11: 2, 26: 13, 33: 18}
    expected = [[table.get(int(value), 255) for value in line] for line in read(rows[0].label)]
    assert frames.label_of_file(0).tolist() == expected
    assert frames.label_of_file(1).tolist() == [[255] * 32] * 24


def test_labelled_day_images_have_the_size_of_all_unless_the_section_names_theirs():
    size = {"size": [960, 540], "crop": [496, 512]}
    assert parse_section(size, Input, "input").labelled_day == (960, 540)
    assert parse_section(size | {"source_size": [1024, 512]}, Input, "input").labelled_day == (1024, 512)
    with pytest.raises(ConfigError, match="source_size"):
        parse_section(size | {"source_size": [1024, 8]}, Input, "input")


def test_labels_become_train_ids_and_are_resized_by_nearest_neighbour(frames, rows):
    table = {7: 0, 8: 1, 11: 2, 26: 13, 33: 18}
    ids = read(rows[0].label)
    # the centre of each block of 2x2 is a corner of four pixels: Pillow takes the lower right one
    expected = [[table.get(int(ids[2 * i + 1, 2 * j + 1]), 255) for j in range(16)] for i in range(12)]
    assert frames.label(0).tolist() == expected


def test_an_image_without_a_label_is_ignored_everywhere(frames):
    assert frames.label(1).shape == (12, 16)
    assert (frames.label(1) == 255).all()


def test_a_reference_is_an_image_of_the_same_size_or_none(frames, rows):
    assert frames.reference(0) is None
    expected = Image.fromarray(read(rows[1].reference)).resize(SIZE, Image.Resampling.BICUBIC)
    assert np.array_equal(frames.reference(1), np.asarray(expected))


def test_a_set_that_fits_is_decoded_once_and_a_larger_one_again_and_again(rows, monkeypatch):
    needed = 4 * SIZE[0] * SIZE[1] * 3
    opened = []
    original = dataset.read_image
    monkeypatch.setattr(dataset, "read_image", lambda path: opened.append(path) or original(path))
    for memory, expected in ((needed, 3), (needed - 1, 4)):
        monkeypatch.setattr(dataset, "MEMORY", memory)
        opened.clear()
        frames = Frames(rows, CITYSCAPES, SIZE)
        for index in (0, 1, 0):
            frames.image(index)
        frames.reference(1)
        assert len(opened) == expected


def test_frames_are_opened_from_what_prepare_writes(tmp_path, rows):
    write_manifest(tmp_path / "night.csv", rows)
    write_classes(tmp_path / "classes.json", CITYSCAPES)
    frames = open_frames(tmp_path / "night.csv", tmp_path / "classes.json", SIZE)
    assert len(frames) == 2
    assert frames.rows == rows
    assert np.array_equal(frames.image(0), Frames(rows, CITYSCAPES, SIZE).image(0))


def test_a_label_map_keeps_its_values_when_it_is_resized():
    label = np.array([[0, 18], [255, 7]], dtype=np.uint8)
    assert resize_label(label, (2, 2)) is label
    assert resize_label(label, (4, 2)).tolist() == [[0, 0, 18, 18], [255, 255, 7, 7]]
    assert set(np.unique(resize_label(label, (13, 9)))) == {0, 7, 18, 255}


@pytest.mark.parametrize("size", [[8, 64], [64], [64, "64"], [64.5, 64]])
def test_an_input_size_that_is_no_size_is_refused(size):
    with pytest.raises(ConfigError, match="size"):
        parse_section({"size": size, "crop": [32, 32]}, Input, "input")


def test_the_shares_of_classes_count_the_labelled_pixels_of_all_images_and_leave_void_out(tmp_path):
    rows = []
    for number, label in enumerate([[[0, 0, 0, 255]] * 4, [[2, 0, 255, 255]] * 4]):
        image, path = tmp_path / f"{number}.png", tmp_path / f"label{number}.png"
        Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(image)
        Image.fromarray(np.array(label, dtype=np.uint8)).save(path)
        rows.append(Row(image, path, None, "labelTrainIds", 4, 4))
    shares = Frames(rows, CITYSCAPES, (4, 4)).class_shares()
    assert shares.tolist() == [0.8, 0, 0.2] + [0] * 16


def test_the_shares_of_classes_of_images_without_any_label_are_refused(rows):
    with pytest.raises(DataError, match=r"b\.png .*no labelled pixel"):
        Frames(rows[1:], CITYSCAPES, SIZE).class_shares()
