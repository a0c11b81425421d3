import os

import pytest

from loopda.data import listing
from loopda.data.listing import RESULTS, files
from loopda.data.paths import existing
from loopda.data.skipped import collect_skipped
from loopda.evaluation.submission import FOLDERS
from loopda.stages.predict import PICTURES


def found(folder, pattern):
    """(what matches, the lines on what was skipped), paths from `folder` on."""
    with collect_skipped() as skipped:
        paths = files(folder, pattern)
    lines = [line.replace(f"{folder}/", "") for line in skipped.lines()]
    return [path.relative_to(folder).as_posix() for path in paths], lines


def test_files_are_sorted_without_folders_and_hidden_ones(tmp_path):
    for name in ("b.png", "a.png", "._a.png", "c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert [path.name for path in files(tmp_path, "*.png")] == ["a.png", "b.png"]


def test_a_link_to_nowhere_is_listed_so_that_the_check_finds_it(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "moved.png")
    assert files(tmp_path, "*.png") == [tmp_path / "a.png"]


def test_there_are_no_files_in_a_folder_that_is_not_there(tmp_path):
    assert files(tmp_path / "none", "*") == []


# what is read


@pytest.mark.fault(49, "a set has all files of linked folders, each once")
def test_folders_are_read_through_links_each_once(tree, tmp_path):
    folder = tree("n/monday/1.png", "n/monday/2.png")
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext/3.png").touch()
    (folder / "n/tuesday").symlink_to(tmp_path / "ext")
    (folder / "n/a_second_name").symlink_to(folder / "n/monday")
    (folder / "n/monday/loop").symlink_to(folder / "n")
    (tmp_path / "ext/up").symlink_to(tmp_path)
    paths, lines = found(folder, "n/**/*.png")
    assert paths == ["n/monday/1.png", "n/monday/2.png", "n/tuesday/3.png"]
    assert lines == [
        f"1 left out, {listing.AGAIN}: n/a_second_name",
        f"2 left out, {listing.LOOP}: n/monday/loop, n/tuesday/up",
    ]


def test_of_several_names_of_a_file_that_without_a_link_is_taken(tree):
    folder = tree("n/b.png")
    (folder / "n/a.png").symlink_to("b.png")
    assert found(folder, "n/*.png") == (["n/b.png"], [f"1 left out, {listing.AGAIN}: n/a.png"])


@pytest.mark.fault(49, "suffixes count in any letters, in every layout")
def test_suffixes_may_be_written_in_any_letters_but_names_may_not(tree):
    folder = tree("n/a_rgb.png", "n/b_rgb.PNG", "n/c_rgb.Png", "n/d_RGB.png")
    assert found(folder, "n/*_rgb.png") == (
        ["n/a_rgb.png", "n/b_rgb.PNG", "n/c_rgb.Png"],
        ["1 left out, not named as *_rgb.png: n/d_RGB.png"],
    )
    assert existing(folder / "n/b_rgb.png") == folder / "n/b_rgb.PNG"
    assert existing(folder / "n/a_rgb.pNG") == folder / "n/a_rgb.png"
    assert existing(folder / "n/x.png") == folder / "n/x.png"


# what is left out


@pytest.mark.fault(49, "what is not in the set is said by cause, count and example")
def test_whatever_is_left_out_is_said_by_cause_count_and_example(tree):
    folder = tree("1.png", *(f"{number}.webp" for number in range(5)), "note.md", "deeper/2.png", "deeper/a.txt")
    (folder / "folder.png").mkdir()
    (folder / "gone").symlink_to(folder / "unmounted")
    assert found(folder, "*.png") == (
        ["1.png"],
        [
            "5 left out, of another format than *.png: 0.webp, 1.webp, 2.webp and 2 more",
            "1 left out, in a folder that *.png does not lead to (`**/` leads to all): deeper/2.png",
            f"1 left out, {listing.FOLDER}: folder.png",
            f"1 left out, {listing.BROKEN}: gone",
        ],
    )
    paths, lines = found(folder, "*/*.png")
    assert paths == ["deeper/2.png"]
    assert "1 left out, in no folder that */*.png leads to: 1.png" in lines


def test_names_that_no_log_can_hold_are_left_out_in_other_words(tree):
    folder = tree("1.png", os.fsdecode(b"stra\xdfe.webp"), "two\nlines.webp")
    [line] = found(folder, "*.png")[1]
    assert line == "2 left out, of another format than *.png: stra\\xdfe.webp, two\\nlines.webp"
    line.encode()


@pytest.mark.fault(49, "a folder without permission is named")
def test_a_folder_without_permission_is_named(tree, monkeypatch):
    folder = tree("a/1.png", "b/2.png")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert found(folder, "**/*.png") == (["a/1.png"], [f"1 left out, {listing.UNREADABLE}: b"])


SYSTEMS = (
    ".ipynb_checkpoints/1-checkpoint.png",
    ".Trash-0/files/1.png",
    "@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    "$RECYCLE.BIN/1.png",
    "__MACOSX/._1.png",
    "lost+found/1.png",
    "System Volume Information/1.png",
    "._1.png",
)


@pytest.mark.fault(50, "hidden folders and those of systems are left out, and it is said")
@pytest.mark.parametrize("name", SYSTEMS)
def test_hidden_files_and_folders_and_those_of_systems_are_left_out_unless_they_are_named(tree, name):
    folder = tree("1.png", name)
    assert found(folder, "**/*.png") == (["1.png"], [f"1 left out, {listing.HIDDEN}: {name}"])
    if "/" in name and "._" not in name:
        inside, rest = name.split("/")[0], name.rpartition("/")[0]
        assert found(folder, f"{rest}/*.png")[0] == [name]
        assert [path.name for path in files(folder / inside, "**/*.png")] == [name.split("/")[-1]]


def test_a_hidden_folder_without_pictures_is_not_worth_a_word(tree):
    assert found(tree("1.png", ".git/config", ".DS_Store"), "**/*.png") == (["1.png"], [])


@pytest.mark.fault(50, "files that systems make are no images, whatever the pattern")
def test_files_that_systems_make_are_no_images_and_worth_a_word_only_where_the_pattern_means_them(tree):
    folder = tree("1.png", "Thumbs.db", "desktop.ini", ".DS_Store", ".results.lock")
    assert found(folder, "*.png") == (["1.png"], [])
    assert found(folder, "*")[0] == ["1.png"]
    with collect_skipped() as skipped:
        assert files(folder, "**/*", any_picture=True) == [folder / "1.png"]
    assert skipped.lines() == []


def test_the_names_of_results_are_those_that_the_stages_write():
    assert {"labels", "legend.png", *PICTURES, *FOLDERS} == RESULTS
