import os
import unicodedata

import pytest

from loopda.data import listing
from loopda.data.listing import RESULTS, existing, files, from_folder, named_path, noting, read_fields, read_names
from loopda.errors import ConfigError, DataError
from loopda.evaluation.submission import FOLDERS
from loopda.stages.predict import PICTURES


@pytest.fixture
def tree(tmp_path):
    """tree(name, ...): the folder with these empty files in it."""

    def make(*names):
        for name in names:
            (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "d" / name).touch()
        return tmp_path / "d"

    return make


def found(folder, pattern):
    """(what matches, the lines on what was left out), paths from `folder` on."""
    with noting() as left_out:
        paths = files(folder, pattern)
    lines = [line.replace(f"{folder}/", "") for line in left_out.lines()]
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


def test_names_come_with_their_line_numbers_past_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n  b c.png \r\n")
    assert read_names(path) == [(1, "a.png"), (3, "b c.png")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\n\n", "no names in it"),
        (b"\xff\xfe\0", "a damaged text in UTF-16; save it as UTF-8"),
        (b"stra\xdfe", "line 1: not UTF-8 .* save it as UTF-8"),
    ],
)
def test_a_list_without_names_is_a_data_error_that_names_it(tmp_path, content, fault):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"names.txt.*{fault}"):
        read_names(path)


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
    with noting() as left_out:
        assert files(folder, "**/*", any_picture=True) == [folder / "1.png"]
    assert left_out.lines() == []


def test_the_names_of_results_are_those_that_the_stages_write():
    assert {"labels", "legend.png", *PICTURES, *FOLDERS} == RESULTS


# paths in tables and lists


@pytest.mark.fault(52, "backslashes are taken for / where there is no such file; a drive of Windows is refused")
def test_a_path_in_a_table_may_have_backslashes_a_home_and_variables(tree, monkeypatch):
    folder = tree("night/images/1.PNG", "odd\\name.png", "$RECYCLE.BIN/2.png")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PART", "night")
    monkeypatch.delenv("RECYCLE", raising=False)
    assert named_path("night\\images\\1.png", folder) == folder / "night/images/1.PNG"
    assert named_path("odd\\name.png", folder) == folder / "odd\\name.png"
    assert named_path("~/$PART/images/1.PNG", folder / "x") == folder / "night/images/1.PNG"
    assert named_path("$RECYCLE.BIN/2.png", folder) == folder / "$RECYCLE.BIN/2.png"
    with pytest.raises(ConfigError, match="no variable RECYCLE; set it, or write the path without it"):
        named_path("$RECYCLE/2.png", folder)
    with pytest.raises(ConfigError, match="a path of a Windows machine"):
        named_path("\\\\nas\\night\\1.png", folder)


@pytest.mark.fault(52, "an address is no path: refused, and nothing is written to a folder of its name")
@pytest.mark.parametrize("address", ["https://host/1.png", "s3://bucket/1.png", "file:///1.png", "https:/host/1.png"])
def test_an_address_is_no_path_of_this_machine(tree, address):
    with pytest.raises(ConfigError, match=f"^{address}: an address, not a path; fetch what is there first"):
        named_path(address, tree("1.png"))
    with pytest.raises(ConfigError, match="C:/1.png: a path of a Windows machine"):
        named_path("C:/1.png", tree("1.png"))
    odd = tree("odd:/1.png")
    assert named_path("odd:/1.png", odd) == odd / "odd:/1.png"


@pytest.mark.fault(52, "accented letters are the same in both forms of Unicode")
@pytest.mark.parametrize(("stored", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_with_accents_is_found_in_either_form_of_unicode(tree, stored, asked):
    folder = tree(unicodedata.normalize(stored, "Zürich/Grün.PNG"))
    name = unicodedata.normalize(asked, "Zürich/Grün.png")
    assert existing(folder / name) == folder / unicodedata.normalize(stored, "Zürich/Grün.PNG")
    assert existing(folder / "Zürich/Blau.png") == folder / "Zürich/Blau.png"


@pytest.mark.fault(51, "a relative path is written from the real folder")
def test_a_relative_path_from_a_linked_folder_leads_to_the_file(tree, tmp_path, monkeypatch):
    folder = tree("1.png")
    (tmp_path / "scratch/deep/results").mkdir(parents=True)
    (tmp_path / "results").symlink_to(tmp_path / "scratch/deep/results")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "results", tmp_path / "results/pair", tmp_path):
        place.mkdir(exist_ok=True)
        for file in (folder / "1.png", (tmp_path / "d/../d/1.png").relative_to(tmp_path)):
            assert os.path.samefile(place / from_folder(file, place), folder / "1.png")


@pytest.mark.fault(52, "a table of a spreadsheet program is read: separators, marks, line ends, quotes, blanks")
@pytest.mark.parametrize(
    "content",
    [
        b"Image,b\n1.png,2.png\n",
        b"\xef\xbb\xbfImage,b\r\n1.png,2.png\r\n",
        b"Image;b\r\n1.png;2.png\r\n",
        b"Image\tb\n1.png\t2.png\n",
        b"sep=;\r\nImage;b\r\n1.png;2.png\r\n",
        b'"Image" , "b"\n "1.png" ,  "2.png" \n',
        "Image\tb\r\n1.png\t2.png\r\n".encode("utf-16"),
        b"Image,b\r1.png,2.png\r",
    ],
)
def test_the_fields_of_a_table_are_read_however_it_was_saved(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    first, second = read_fields(tmp_path / "t.csv")
    assert (first[1], second[1]) == (["Image", "b"], ["1.png", "2.png"])
    assert second[0] == first[0] + 1


def test_a_comma_decides_where_there_are_several_separators(tmp_path):
    (tmp_path / "t.csv").write_text('a;b,c\n1,"2, 3"\n')
    assert [fields for _, fields in read_fields(tmp_path / "t.csv")] == [["a;b", "c"], ["1", "2, 3"]]
