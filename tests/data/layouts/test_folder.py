import public_trees as trees
import pytest

from loopda.config import parse_section
from loopda.data.checks import check_rows
from loopda.data.layouts import FolderLayout
from loopda.data.listing import HIDDEN
from loopda.data.skipped import collect_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES

DRIVES = ["drive/b/0001", "drive/a/0002", "drive/a/0001", "drive/0007", "drive/a/c/0001"]


def rows(root, images, classes, *, labelled, **keys):
    return FolderLayout(layout="folder", root=root, images=images, **keys).rows(classes, labelled=labelled)


@pytest.fixture
def root(tmp_path):
    """Five frames of drives in folders of several depths, with label maps and day images in trees of the same shape."""
    for name in DRIVES:
        trees.photograph(tmp_path / f"{name}.jpg")
        trees.label(tmp_path / f"masks/{name.removeprefix('drive/')}_labelIds.png")
        trees.photograph(tmp_path / f"day/{name.removeprefix('drive/')}.jpg")
    return tmp_path


def relative(root, paths):
    return [path.relative_to(root).as_posix() for path in paths]


def test_images_are_those_that_match_the_glob_sorted_by_path(root):
    found = rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=False)
    assert relative(root, [row.image for row in found]) == sorted(f"{name}.jpg" for name in DRIVES)
    assert {(row.label, row.reference, row.encoding) for row in found} == {(None, None, "")}
    found = rows(root, "drive/a/*.jpg", CITYSCAPES, labelled=False)
    assert relative(root, [row.image for row in found]) == ["drive/a/0001.jpg", "drive/a/0002.jpg"]


def test_labels_and_references_are_found_by_folder_and_stem(root):
    patterns = {"labels": "masks/{folder}/{stem}_labelIds.png", "references": "day/{folder}/{stem}.jpg"}
    found = rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=True, **patterns)
    for row in found:
        name = row.image.relative_to(root / "drive").with_suffix("").as_posix()
        assert row.label == root / f"masks/{name}_labelIds.png"
        assert row.reference == root / f"day/{name}.jpg"
    assert {row.encoding for row in found} == {"labelIds"}
    assert check_rows(found, CITYSCAPES, labelled=True, workers=1).faults == []


def test_the_stem_is_what_the_star_stands_for(tmp_path):
    trees.photograph(tmp_path / "all/a_rgb.png")
    trees.label(tmp_path / "all/a_mask.png", "labelTrainIds", 255)
    trees.photograph(tmp_path / "all/a_day.png")
    [row] = rows(
        tmp_path,
        "all/*_rgb.png",
        CITYSCAPES,
        labelled=True,
        labels="all/{stem}_mask.png",
        references="{folder}/all/{stem}_day.png",
        encoding="labelTrainIds",
    )
    assert row.label == tmp_path / "all/a_mask.png"
    assert row.reference == tmp_path / "all/a_day.png"
    assert check_rows([row], CITYSCAPES, labelled=True, workers=1).faults == []


def test_braces_in_the_names_of_files_are_no_placeholders(tmp_path):
    trees.photograph(tmp_path / "in/{folder}/{stem}x.png")
    [row] = rows(tmp_path, "in/**/*.png", CITYSCAPES, labelled=False, references="day/{folder}/{stem}.png")
    assert row.reference == tmp_path / "day/{folder}/{stem}x.png"


def test_a_missing_label_or_reference_is_reported_by_the_check(root):
    (root / "masks/a/0001_labelIds.png").unlink()
    (root / "day/0007.jpg").unlink()
    patterns = {"labels": "masks/{folder}/{stem}_labelIds.png", "references": "day/{folder}/{stem}.jpg"}
    found = rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=True, **patterns)
    reference, label = check_rows(found, CITYSCAPES, labelled=True, workers=1).faults
    assert reference.startswith(f"reference {root / 'day/0007.jpg'}: no such file")
    assert label.startswith(f"label {root / 'masks/a/0001_labelIds.png'}: no such file")


def test_labels_that_are_not_needed_may_be_missing_and_need_no_encoding(root):
    (root / "masks/0007_labelIds.png").rename(root / "masks/0007.png")
    found = rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=False, labels="masks/{folder}/{stem}.png")
    assert [row.label for row in found] == [root / "masks/0007.png", None, None, None, None]
    assert {row.encoding for row in found} == {""}


def test_without_the_folder_in_the_pattern_frames_of_one_name_share_a_label_which_is_a_fault(root):
    trees.label(root / "masks/0001.png")
    found = rows(
        root, "drive/[ab]/*.jpg", CITYSCAPES, labelled=True, labels="masks/{stem}.png", encoding="labelTrainIds"
    )
    faults = check_rows(found, CITYSCAPES, labelled=True, workers=1).faults
    assert any(f"{root / 'masks/0001.png'}: it is listed for several images" in fault for fault in faults)


@pytest.mark.parametrize("role", ["label", "reference"])
def test_a_glob_that_takes_labels_or_references_for_images_is_a_data_error_that_names_them(tmp_path, role):
    trees.photograph(tmp_path / "all/a.png")
    trees.label(tmp_path / "all/a_partner.png")
    with pytest.raises(DataError, match=f"a_partner.png: it matches `images`, but it is the {role} of .*a.png"):
        rows(tmp_path, "all/*.png", CITYSCAPES, labelled=False, **{f"{role}s": "all/{stem}_partner.png"})


def test_no_match_is_a_data_error_that_names_the_glob(root):
    with pytest.raises(DataError, match=r"drive/\*\.png: no file matches; correct `root` or `images`"):
        rows(root, "drive/*.png", CITYSCAPES, labelled=False)


def test_an_encoding_that_nothing_tells_or_that_is_unknown_is_a_config_error(root):
    with pytest.raises(ConfigError, match="add `encoding"):
        rows(root, "drive/*.jpg", CITYSCAPES, labelled=True, labels="masks/{stem}.png")
    with pytest.raises(ConfigError, match="no label encoding 'rgb'"):
        rows(root, "drive/*.jpg", CITYSCAPES, labelled=True, encoding="rgb")


@pytest.mark.parametrize("glob", ["*.jpg", "drive/*.jpg", "drive/**/*_rgb.png", "a*/b?/frame_*.jpg", "../x/*.jpg"])
def test_a_relative_glob_with_one_star_in_its_last_part_is_accepted(glob):
    section = {"layout": "folder", "root": "x", "images": glob}
    assert parse_section(section, FolderLayout, "c.yaml").images == glob


@pytest.mark.parametrize("glob", ["drive", "drive/", "drive/**", "drive/a.jpg", "/x/*.jpg", "*_*.jpg", "?*.jpg", ""])
def test_another_glob_is_refused(glob):
    with pytest.raises(ConfigError, match="images"):
        parse_section({"layout": "folder", "root": "x", "images": glob}, FolderLayout, "c.yaml")


@pytest.mark.parametrize("pattern", ["{stem}.png", "masks/{stem}.png", "{folder}/{stem}_a.png", "m/{stem}/{stem}.png"])
def test_a_relative_pattern_with_a_stem_is_accepted(pattern):
    section = {"layout": "folder", "root": "x", "images": "*.jpg", "labels": pattern, "references": pattern}
    assert parse_section(section, FolderLayout, "c.yaml").labels == pattern


@pytest.mark.parametrize(
    "pattern", ["one.png", "{folder}.png", "{name}/{stem}.png", "/x/{stem}.png", "{stem", "{}", ""]
)
@pytest.mark.parametrize("role", ["labels", "references"])
def test_another_pattern_is_refused(role, pattern):
    with pytest.raises(ConfigError, match=role):
        parse_section({"layout": "folder", "root": "x", "images": "*.jpg", role: pattern}, FolderLayout, "c.yaml")


@pytest.mark.fault(49, "labels and references are found whatever the letters of their suffixes")
def test_labels_and_references_may_have_suffixes_in_other_letters(root):
    (root / "drive/a/0001.jpg").rename(root / "drive/a/0001.JPG")
    (root / "masks/a/0001_labelIds.png").rename(root / "masks/a/0001_labelIds.PNG")
    (root / "day/0007.jpg").rename(root / "day/0007.Jpg")
    patterns = {"labels": "masks/{folder}/{stem}_labelIds.png", "references": "day/{folder}/{stem}.jpg"}
    found = rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=True, **patterns)
    assert len(found) == 5
    assert check_rows(found, CITYSCAPES, labelled=True, workers=1).faults == []


@pytest.mark.fault(49, "labels and references without an image are said by count and example")
def test_labels_and_references_without_an_image_are_said_and_labels_are_no_left_out_images(root):
    trees.label(root / "masks/a/0009_labelIds.png")
    trees.photograph(root / "day/a/c/0009.jpg")
    trees.photograph(root / "drive/a/0003.webp")
    patterns = {"labels": "masks/{folder}/{stem}_labelIds.png", "references": "day/{folder}/{stem}.jpg"}
    with collect_skipped() as left_out:
        rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=True, **patterns)
    assert left_out.lines() == [
        f"1 left out, of another format than *.jpg: {root}/drive/a/0003.webp",
        f"1 left out, label maps without an image: {root}/masks/a/0009_labelIds.png",
        f"1 left out, references without an image: {root}/day/a/c/0009.jpg",
    ]
    with collect_skipped() as left_out:  # beside each other
        for name in ("1_rgb", "1_mask"):
            trees.photograph(root / f"all/{name}.png")
        rows(root, "all/*_rgb.png", CITYSCAPES, labelled=False, labels="all/{stem}_mask.png")
    assert left_out.lines() == []


@pytest.mark.fault(53, "labels of which none is there: one line with the pattern and examples")
@pytest.mark.parametrize(("role", "labelled"), [("labels", True), ("references", False)])
def test_where_no_label_or_reference_is_there_one_line_says_so(root, role, labelled):
    with pytest.raises(DataError) as caught:
        rows(root, "drive/**/*.jpg", CITYSCAPES, labelled=labelled, encoding="labelIds", **{role: "x/{stem}.png"})
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{root}/x/{{stem}}.png: none of the 5 {role} is there, such as {root}/x/0007.png")
    assert line.endswith(f"and 2 more; correct `{role}`")


@pytest.mark.fault(52, "a folder with [ in its name is taken by its name, and the message says how to write it")
def test_a_folder_with_brackets_in_its_name_is_taken_by_it(tmp_path):
    trees.photograph(tmp_path / "drive[1]/a/0001.jpg")
    trees.photograph(tmp_path / "day/a/0001.jpg")
    [row] = rows(tmp_path, "drive[1]/**/*.jpg", CITYSCAPES, labelled=False, references="day/{folder}/{stem}.jpg")
    assert (row.image, row.reference) == (tmp_path / "drive[1]/a/0001.jpg", tmp_path / "day/a/0001.jpg")
    with pytest.raises(DataError, match=r"no file matches.*`\[` begins a set of characters; .* write `\[\[\]`"):
        rows(tmp_path, "drive[2]/*.jpg", CITYSCAPES, labelled=False)


@pytest.mark.fault(52, "variables are filled in below `root`, which no pattern leaves")
def test_variables_in_a_pattern_are_filled_in_and_it_stays_below_the_root(root, monkeypatch):
    monkeypatch.setenv("PART", "a")
    found = rows(root, "drive/$PART/*.jpg", CITYSCAPES, labelled=False, references="day/${PART}/{stem}.jpg")
    assert relative(root, [row.reference for row in found]) == ["day/a/0001.jpg", "day/a/0002.jpg"]
    with pytest.raises(ConfigError, match="not below `root`; put the folder into `root`"):
        rows(root, "~/drive/*.jpg", CITYSCAPES, labelled=False)
    monkeypatch.delenv("PART")
    with pytest.raises(ConfigError, match="no variable PART"):
        rows(root, "drive/$PART/*.jpg", CITYSCAPES, labelled=False)


def test_where_nothing_matches_what_was_left_out_is_told(root):
    (root / "drive/.cache").mkdir()
    (root / "drive/.cache/0001.png").touch()
    with pytest.raises(DataError) as caught:
        rows(root, "drive/**/*.png", CITYSCAPES, labelled=False)
    first, hidden, others = str(caught.value).splitlines()
    assert first.endswith("drive/**/*.png: no file matches; correct `root` or `images`")
    assert hidden == f"1 left out, {HIDDEN}: {root}/drive/.cache/0001.png"
    assert others.startswith("5 left out, of another format than *.png")
    with pytest.raises(DataError, match="folders are parted by / here, not by"):
        rows(root, "drive\\*.png", CITYSCAPES, labelled=False)
    with pytest.raises(DataError, match="there is no folder .*nowhere; correct `root`"):
        rows(root / "nowhere", "*.png", CITYSCAPES, labelled=False)
