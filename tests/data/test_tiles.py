import numpy as np
import public_trees as trees
import pytest
from PIL import Image

from loopda.data.checks import check_rows
from loopda.data.layouts import CityscapesLayout, DarkZurichLayout
from loopda.data.manifest import Row
from loopda.data.tiles import TILE_WIDTH, data_set_rows
from loopda.labels.classes import CITYSCAPES, MOST_CLASSES, ClassList, Encoding
from loopda.labels.contact_sheet import CAPTION, GAP, Tile, write_contact_sheet

TILE_HEIGHT = TILE_WIDTH * trees.HEIGHT // trees.WIDTH


def rows_of(layout, *, labelled):
    rows = layout.rows(CITYSCAPES, labelled=labelled)
    if not labelled:
        rows = [Row(row.image, reference=row.reference) for row in rows]
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1).rows


@pytest.fixture
def sets(tmp_path):
    day, night = trees.cityscapes(tmp_path / "cityscapes"), trees.dark_zurich(tmp_path / "dark_zurich")
    return {
        "source": rows_of(CityscapesLayout(layout="cityscapes", root=day, split="train"), labelled=True),
        "night": rows_of(DarkZurichLayout(layout="dark_zurich", root=night, split="train"), labelled=False),
    }


def drawn(path, sets):
    write_contact_sheet(path, data_set_rows(sets, CITYSCAPES))
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def contains(sheet, patch):
    """Whether `patch` stands in `sheet` at the left of one of its lines."""
    height, width = patch.shape[:2]
    return any(
        np.array_equal(sheet[y : y + height, GAP : GAP + width], patch) for y in range(sheet.shape[0] - height + 1)
    )


def test_the_sheet_shows_images_labels_in_colours_and_references(tmp_path, sets):
    sheet = drawn(tmp_path / "sheet.png", sets)
    first = sets["night"][0]
    for path in (sets["source"][0].image, first.image, first.reference):
        with Image.open(path) as image:
            tile = image.resize((TILE_WIDTH, TILE_HEIGHT), Image.Resampling.BICUBIC)
        assert contains(sheet, np.array(tile)), path
    label = CITYSCAPES.lookup_table("labelIds")[trees.raw_ids("labelIds", 0)]
    tile = Image.fromarray(CITYSCAPES.colour_map(label)).resize((TILE_WIDTH, TILE_HEIGHT), Image.Resampling.NEAREST)
    assert contains(sheet, np.array(tile))


def test_a_set_takes_a_line_for_what_it_has(tmp_path, sets):
    line = CAPTION + TILE_HEIGHT + GAP
    heights = {}
    for name, rows in {
        "image": [Row(row.image, width=row.width, height=row.height) for row in sets["source"]],
        "label": sets["source"],
        "both": [*sets["source"][:1], *sets["night"][:1]],
    }.items():
        heights[name] = drawn(tmp_path / "sheet.png", {"one": rows}).shape[0]
    assert heights["label"] - heights["image"] == line
    assert heights["both"] - heights["image"] == 2 * line


def test_a_long_class_list_takes_more_lines_but_no_more_width(tmp_path, sets):
    indices = range(MOST_CLASSES)
    many = ClassList(
        names=tuple(f"class number {index}" for index in indices),
        colours=tuple((index, 100, 200) for index in indices),
        dynamic=frozenset(),
        ssc=frozenset(),
        encodings={"labelIds": Encoding(tuple((index,) for index in indices), frozenset({255}))},
    )
    write_contact_sheet(tmp_path / "many.png", data_set_rows({"source": sets["source"]}, many))
    with Image.open(tmp_path / "many.png") as image:
        sheet = np.array(image)
    assert sheet.shape[1] == drawn(tmp_path / "few.png", {"source": sets["source"]}).shape[1]
    packed = sheet.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    assert {(index << 16) + (100 << 8) + 200 for index in indices} <= set(np.unique(packed).tolist())


def test_the_sheet_is_the_same_each_time(tmp_path, sets):
    write_contact_sheet(tmp_path / "a.png", data_set_rows(sets, CITYSCAPES))
    write_contact_sheet(tmp_path / "b.png", data_set_rows(sets, CITYSCAPES))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_caption_that_is_too_long_stays_over_its_own_tile_and_loses_its_middle(tmp_path):
    black = Image.new("RGB", (100, 10))

    def caption(text):
        write_contact_sheet(tmp_path / "sheet.png", [[Tile(text, black), Tile("", black)]])
        with Image.open(tmp_path / "sheet.png") as image:
            return np.array(image)[: GAP + CAPTION]

    long = caption("a1" + "x" * 90 + "b7")
    assert (long[:, GAP + 100 + 2 :] == long[0, 0]).all()
    assert np.array_equal(long, caption("a1" + "x" * 50 + "b7"))
    for other in ("a2" + "x" * 90 + "b7", "a1" + "x" * 90 + "b8", ""):
        assert not np.array_equal(long, caption(other))
