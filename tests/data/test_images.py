import pytest

from loopda.data.images import find_images
from loopda.data.listing import AGAIN, BROKEN, HIDDEN, LOOP, OWN
from loopda.errors import ConfigError, DataError


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
    assert found.skipped == [
        f"2 left out, {HIDDEN}: {drive}/.cache/3.png, {drive}/a/._1.png",
        f"1 left out, {OWN}: {drive}/out/labels/a/1.png",
        f"1 left out, not named as a PNG or JPEG image (.png, .jpg, .jpeg): {drive}/notes.md",
    ]


def test_a_relative_folder_is_the_same_folder(drive, monkeypatch):
    monkeypatch.chdir(drive.parent)
    assert find_images(["drive/../drive/"], outside="drive/out") == find_images([str(drive)], outside=drive / "out")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*", ["1", "2"]),
        ("*/1.*", ["a/1", "b/1"]),
        ("**/*.jp*g", ["a/2", "b/1"]),
        ("[ab]/?.png", ["a/1"]),
        ("a/**", ["1", "2"]),
    ],
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


@pytest.mark.parametrize("other", ["1.jpg", "1.PNG"])
def test_images_whose_results_would_have_one_name_are_refused_by_their_names(drive, other):
    (drive / "a" / other).touch()
    with pytest.raises(
        DataError, match=rf"{other} .*1\.png: their results would|1\.png .*{other}: their results would"
    ):
        find_images([str(drive)])


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ([], "no images are named"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["no\\where"], r"no.where: no such file or folder; folders are parted by / here"),
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


@pytest.mark.fault(49, "prediction reads linked folders and suffixes in any letters, and says what it leaves out")
def test_linked_folders_and_suffixes_in_any_letters_are_images_and_what_is_left_out_is_said(drive, tmp_path):
    for name in ("ext/3.PNG", "ext/4.Jpg", "ext/5.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (drive / "c").symlink_to(tmp_path / "ext")
    (drive / "a/loop").symlink_to(drive)
    (drive / "gone").symlink_to(tmp_path / "unmounted")
    (drive / "again").symlink_to(drive / "b")
    found = find_images([str(drive)], outside=drive / "out")
    assert names(found) == ["a/1", "a/2", "b/1", "c/3", "c/4"]
    said = "\n".join(found.skipped)
    for cause, example in ((LOOP, "a/loop"), (BROKEN, "gone"), (AGAIN, "again")):
        assert f"1 left out, {cause}: {drive / example}" in said
    assert (
        f"2 left out, not named as a PNG or JPEG image (.png, .jpg, .jpeg): {drive}/notes.md, {drive}/c/5.webp" in said
    )


def test_a_hidden_folder_is_taken_where_it_is_named(drive):
    assert names(find_images([str(drive / ".cache")])) == ["3"]
    assert names(find_images([str(drive / ".cache/*.png")])) == ["3"]


@pytest.mark.fault(50, "results of an earlier prediction below the images are no images, and the log says so")
def test_what_an_earlier_prediction_wrote_is_known_by_its_record(drive):
    record = drive / "out/predictions.jsonl"
    assert "out/labels/a/1" in names(find_images([str(drive)]))  # of whom, nothing tells
    record.write_text('{"by": {"model": "0"}}\n')
    (drive / "out/legend.png").touch()
    (drive / "out/photograph.png").touch()
    found = find_images([str(drive)])
    assert names(found) == ["a/1", "a/2", "b/1", "out/photograph"]
    assert f"2 left out, {OWN}: {drive}/out/labels/a/1.png, {drive}/out/legend.png" in found.skipped
    assert names(find_images([str(drive / "out/labels")])) == ["a/1"]
    record.write_text("frame 1: a pedestrian\n")  # somebody else's file of this name
    assert "out/labels/a/1" in names(find_images([str(drive)]))


@pytest.mark.fault(50, "what the workflow wrote below the images is none of them, and the log says so")
def test_the_folders_of_the_workflow_below_the_images_are_no_images(drive):
    for name in ("results/evaluate/a.png", "logs/b.png"):
        (drive / name).parent.mkdir(parents=True)
        (drive / name).touch()
    assert "logs/b" in names(find_images([str(drive)], outside=drive / "out"))
    (drive / ".snakemake").mkdir()
    assert names(find_images([str(drive)], outside=drive / "out")) == ["a/1", "a/2", "b/1"]
    assert names(find_images([str(drive / "results/evaluate")])) == ["a"]


def test_the_folder_of_the_results_cannot_be_that_of_the_images(drive):
    with pytest.raises(DataError, match="the folder .*drive of the results is the same, or holds it"):
        find_images([str(drive / "a")], outside=drive)


def test_a_pattern_of_folders_alone_says_where_the_images_are(drive):
    with pytest.raises(DataError) as caught:
        find_images([str(drive / "*")], outside=drive / "out")
    said = str(caught.value)
    assert "no image in it" in said
    assert f"3 left out, in a folder that * does not lead to (`**/` leads to all): {drive}/a/1.png" in said


def test_links_into_a_hidden_store_are_images_like_others(drive):
    store = drive / ".git/annex/objects"
    store.mkdir(parents=True)
    (store / "SHA256-1").touch()
    (drive / "b/2.png").symlink_to(store / "SHA256-1")
    (drive / "b/itself.png").symlink_to(drive / "b/itself.png")
    assert names(find_images([str(drive / "b")])) == ["1", "2", "itself"]  # the last is a fault, when it is opened


@pytest.mark.fault(52, "a folder with [ in its name is taken by its name")
def test_a_folder_or_file_with_brackets_in_its_name_is_taken_by_it(tmp_path):
    for name in ("drive[1]/a.png", "drive1/b.png", "drive[1]/c[2]_d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(find_images([str(tmp_path / "drive[1]/a*.png")])) == ["a"]
    assert names(find_images([str(tmp_path / "drive[1]/c[2]_*.png")])) == ["c[2]_d"]
    assert names(find_images([str(tmp_path / "drive[1]")])) == ["a", "c[2]_d"]
    assert names(find_images([str(tmp_path / "drive[12]/*.png")])) == ["drive1/b"]


@pytest.mark.fault(52, "~ and variables of the environment are filled in, or refused by their name")
def test_a_home_and_variables_are_filled_in(drive, monkeypatch):
    monkeypatch.setenv("HOME", str(drive))
    monkeypatch.setenv("DRIVE", "a")
    monkeypatch.delenv("NOTHING", raising=False)
    assert names(find_images(["~/$DRIVE"])) == ["1", "2"]
    assert names(find_images(["~/${DRIVE}/*.png"])) == ["1"]
    with pytest.raises(ConfigError, match="the environment has no variable NOTHING; set it"):
        find_images(["$NOTHING/a"])
    (drive / "list.txt").write_text("$DRIVE/1.png\n~/a/2.JPG\n")
    assert names(find_images([str(drive / "list.txt")])) == ["1", "2"]


@pytest.mark.fault(51, "a list in a linked folder leads to the files that it names")
def test_a_list_in_a_linked_folder_goes_up_from_the_real_one(drive, tmp_path):
    (drive / "lists").mkdir()
    (drive / "lists/night.txt").write_text("../a/1.png\n../b/1.jpeg\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/lists").symlink_to(drive / "lists")
    found = find_images([str(tmp_path / "elsewhere/lists/night.txt")])
    assert [source.path for source in found.sources] == [drive / "a/1.png", drive / "b/1.jpeg"]


def test_a_list_with_backslashes_other_letters_and_repeated_lines_is_read_and_says_so(drive):
    (drive / "night.txt").write_bytes(b"\xef\xbb\xbfa\\1.PNG\r\na\\2.jpg\r\na/1.png\r\n")
    found = find_images([str(drive / "night.txt")])
    assert [source.path for source in found.sources] == [drive / "a/1.png", drive / "a/2.JPG"]
    assert found.skipped == ["1 left out, repeated in night.txt, which is taken once: line 3, a/1.png"]
    (drive / "night.txt").write_text("C:\\drive\\1.png\n")
    with pytest.raises(DataError, match=r"night.txt, line 1: C:\\drive\\1.png: a path of a Windows machine"):
        find_images([str(drive / "night.txt")])


@pytest.mark.fault(51, "a list whose paths start from the working directory: one line says where they start")
def test_a_list_of_paths_from_the_working_directory_is_said_to_be_one(drive, monkeypatch):
    monkeypatch.chdir(drive)
    (drive / "lists").mkdir()
    (drive / "lists/night.txt").write_text("a/1.png\nb/1.jpeg\n")
    with pytest.raises(DataError, match=r"lists/night.txt: .* no a/1.png; .*: write \.\./a/1.png, or move the list$"):
        find_images(["lists/night.txt"])


@pytest.mark.fault(50, "a shell's `drive/*` names results too: they are left out, and it is said")
def test_results_that_are_named_beside_images_are_left_out(drive):
    for folder in ("first", "out"):
        (drive / folder / "labels").mkdir(parents=True, exist_ok=True)
        (drive / folder / "labels/1.png").touch()
        (drive / folder / "predictions.jsonl").write_text('{"by": {}}\n')
    written_out = sorted(str(path) for path in drive.glob("[!.]*") if path.is_dir())
    found = find_images(written_out, outside=drive / "out")
    assert names(found) == ["a/1", "a/2", "b/1"]
    assert f"2 left out, results that this package wrote: {drive}/first, {drive}/out" in found.skipped
    with pytest.raises(DataError, match="no image in it"):
        find_images([str(drive / "first")])
    with pytest.raises(DataError, match="no images are named but results\n2 left out, results that this package wrote"):
        find_images([str(drive / "first"), str(drive / "out")])


def test_a_table_is_no_list_of_images(drive):
    (drive / "night.csv").write_text("image\na/1.png\n")
    with pytest.raises(DataError, match=r"night.csv: a list of images is a \.txt file with one path a line"):
        find_images([str(drive / "night.csv")])


@pytest.mark.fault(53, "a list of another tree: one line says so")
def test_a_list_of_another_tree_is_one_line(drive):
    (drive / "night.txt").write_text("".join(f"other/{number}.png\n" for number in range(50)))
    with pytest.raises(DataError) as caught:
        find_images([str(drive / "night.txt")])
    [line] = str(caught.value).splitlines()
    assert "of the 50 files that it names 50 are not there" in line
    assert f"{drive}/other/2.png and 47 more: it belongs to another tree" in line
