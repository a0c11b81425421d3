import public_trees as trees
import pytest

from loopda.config import parse_section
from loopda.data.folder import rows
from loopda.data.layouts import FolderLayout
from loopda.data.manifest import check_rows
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES

DRIVES = ["drive/b/0001", "drive/a/0002", "drive/a/0001", "drive/0007", "drive/a/c/0001"]


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
