import pytest

from loopda.data.images import find_images
from loopda.errors import DataError


@pytest.fixture
def drive(tmp_path):
    """Two recordings, with what else lies in such folders."""
    for name in (
        "drive/a/1.png",
        "drive/a/2.JPG",
        "drive/b/1.jpeg",
        "drive/notes.md",
        "drive/a/._1.png",
        "drive/.cache/3.png",
        "drive/out/labels/a/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "drive"


def names(found):
    return [source.name for source in found.sources]


def test_a_folder_means_its_images_named_by_their_paths_below_it(drive):
    found = find_images([str(drive)], outside=drive / "out")
    assert names(found) == ["a/1", "a/2", "b/1"]
    assert [source.path for source in found.sources] == [drive / "a/1.png", drive / "a/2.JPG", drive / "b/1.jpeg"]
    assert found.left_out == 1  # notes.md; what is hidden or a result is not worth a word


def test_a_relative_folder_is_the_same_folder(drive, monkeypatch):
    monkeypatch.chdir(drive.parent)
    assert find_images(["drive/../drive/"], outside="drive/out") == find_images([str(drive)], outside=drive / "out")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a/*", ["1", "2"]), ("*/1.*", ["a/1", "b/1"]), ("**/*.jp*g", ["b/1"]), ("[ab]/?.png", ["a/1"])],
)
def test_a_pattern_is_named_from_its_last_folder_without_a_wildcard(drive, pattern, expected):
    assert names(find_images([str(drive / pattern)])) == expected


def test_a_list_is_read_relative_to_its_folder_and_mirrors_the_folders_below_the_common_one(drive):
    (drive / "night.txt").write_text(f"a/1.png\n\n  b/1.jpeg \n{drive}/a/missing.bmp\na/../a/1.png\n")
    found = find_images([str(drive / "night.txt")])
    assert names(found) == ["a/1", "a/missing", "b/1"]
    assert found.sources[1].path == drive / "a/missing.bmp"  # a fault of its own, when it is opened


def test_several_arguments_share_the_deepest_folder_that_holds_them(drive):
    both = find_images([str(drive / "a"), str(drive / "b/1.jpeg"), str(drive / "a/1.png")])
    assert names(both) == ["a/1", "a/2", "b/1"]
    assert names(find_images([str(drive / "b/1.jpeg")])) == ["1"]


def test_images_whose_results_would_have_one_name_are_refused_by_their_names(drive):
    (drive / "a/1.jpg").touch()
    with pytest.raises(DataError, match=r"a/1\.jpg and \S*a/1\.png: their results would have the same name"):
        find_images([str(drive)])


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ([], "no images are named"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: no image in it"),
        (["empty/*.png"], r"empty/\*\.png: no image in it"),
        (["empty.txt"], r"empty\.txt: an empty list"),
        (["latin.txt"], r"latin\.txt, line 1: not UTF-8 .*; save it as UTF-8"),
    ],
)
def test_what_means_no_image_is_refused_by_its_name(tmp_path, monkeypatch, where, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"stra\xdfe.png\n")
    with pytest.raises(DataError, match=fault):
        find_images(where)
