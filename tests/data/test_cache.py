"""The cache on the disk: off by default, the same values, one decoding, and no stale or damaged entry is used."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from loopda.data import dataset
from loopda.data.cache import cached
from loopda.data.dataset import Frames
from loopda.data.manifest import Row
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.choice(np.array([0, 7, 26], dtype=np.uint8), (24, 32))).save(tmp_path / "a_labelIds.png")
    return [Row(tmp_path / "a.png", tmp_path / "a_labelIds.png", None, "labelIds", 32, 24)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPDA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def opened(monkeypatch):
    """The files that `Frames` decodes."""
    files = []
    for name in ("read_image", "read_label"):
        original = getattr(dataset, name)
        monkeypatch.setattr(
            dataset, name, lambda path, *rest, original=original: files.append(path) or original(path, *rest)
        )
    return files


def values(rows, size=(16, 12)):
    frames = Frames(rows, CITYSCAPES, size)
    return frames.image(0).tolist(), frames.label(0).tolist()


@pytest.mark.parametrize("memory", [0, 2**20])
def test_cached_values_are_those_of_the_files_and_nothing_is_decoded_twice(
    rows, folder, opened, memory, tmp_path, monkeypatch
):
    monkeypatch.setattr(dataset, "MEMORY", memory)
    monkeypatch.delenv("LOOPDA_CACHE")
    plain = values(rows)
    assert not folder.exists()
    monkeypatch.setenv("LOOPDA_CACHE", str(folder))
    assert values(rows) == plain
    opened.clear()
    assert values(rows) == plain
    assert opened == []


def test_another_size_and_a_changed_file_make_new_entries(rows, folder, opened):
    first = values(rows)
    assert len(values(rows, (8, 6))[0]) == 6
    image = rows[0].image
    pixels = 255 - np.asarray(Image.open(image))
    Image.fromarray(pixels).save(image)
    status = image.stat()
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    opened.clear()
    changed = values(rows)
    assert set(opened) == {image}
    assert changed[0] != first[0]
    assert changed[1] == first[1]


def test_many_threads_that_want_one_entry_all_get_it(tmp_path, folder):
    (tmp_path / "source").write_bytes(b"1")
    array = np.arange(200000, dtype=np.uint8)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached(tmp_path / "source", "x", lambda: array), range(32)))
    assert all(np.array_equal(value, array) for value in found)
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("length", [0, 10, 200])
def test_a_damaged_entry_is_named(rows, folder, length):
    values(rows)
    for entry in folder.rglob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:length])
    with pytest.raises(DataError, match=r"\.npy: a damaged entry of the image cache .*; delete it"):
        values(rows)


def test_a_missing_image_is_named_as_without_a_cache(rows, folder):
    rows[0].image.unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        values(rows)


def test_label_maps_in_colours_are_kept_apart_by_the_colours_of_the_class_list(tmp_path, folder):
    label = np.repeat(np.arange(4, dtype=np.uint8), 8 * 4).reshape(4 * 4, 8)
    Image.fromarray(CITYSCAPES.colour_map(label)).save(tmp_path / "a.png")
    row = Row(tmp_path / "a.png", tmp_path / "a.png", None, "colours", 8, 16)
    some = CITYSCAPES.subset(["wall", "road"])
    by_all, by_some = (Frames([row], classes, (8, 16)).label(0) for classes in (CITYSCAPES, some))
    assert np.array_equal(by_all, label)
    assert np.array_equal(by_some, np.array([1, 255, 255, 0], dtype=np.uint8)[label])


@pytest.mark.fault(77, "an entry of the cache is read as a whole where the file system maps no files into memory")
def test_an_entry_is_read_where_files_cannot_be_mapped_into_memory(tmp_path, folder, monkeypatch):
    (tmp_path / "a.png").touch()
    array, load = np.arange(6, dtype=np.uint8), np.load

    def unmapped(path, mmap_mode=None, **options):
        if mmap_mode:
            raise OSError(errno.ENODEV, "No such device")
        return load(path, **options)

    monkeypatch.setattr(np, "load", unmapped)
    assert (cached(tmp_path / "a.png", "", lambda: array) == array).all()
    assert len(list(folder.rglob("*.npy"))) == 1
