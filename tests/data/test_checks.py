import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from loopda.data import checks
from loopda.data.checks import check_rows
from loopda.data.duplicates import same_pictures
from loopda.data.manifest import Row, with_image
from loopda.labels.classes import CITYSCAPES


def image(path, size=(8, 4), value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def label(path, size=(8, 4), value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


@pytest.fixture
def good(tmp_path):
    """Two labelled images that share one reference."""
    reference = image(tmp_path / "reference.png")
    return [
        Row(image(tmp_path / "a.png"), label(tmp_path / "a_labelIds.png"), reference, "labelIds"),
        Row(image(tmp_path / "b.png"), label(tmp_path / "b_labelIds.png", value=26), reference, "labelIds"),
    ]


def faults(rows, labelled=True):
    return check_rows(rows, CITYSCAPES, labelled=labelled).faults


def test_rows_without_a_fault_get_their_size_and_their_pixels_counted(good):
    checked = check_rows(good, CITYSCAPES, labelled=True)
    assert checked.faults == []
    assert [(row.width, row.height) for row in checked.rows] == [(8, 4), (8, 4)]
    assert [row.image for row in checked.rows] == [row.image for row in good]
    assert checked.pixels[0] == 32  # label id 7, road
    assert checked.pixels[13] == 32  # label id 26, car
    assert checked.pixels.sum() == 64
    assert checked.ignored == 0


def test_void_pixels_are_counted_apart_and_are_no_fault(good):
    raw = np.full((4, 8), 7, dtype=np.uint8)
    raw[0] = 0
    raw[1, :4] = 255
    Image.fromarray(raw).save(good[0].label)
    checked = check_rows(good, CITYSCAPES, labelled=True)
    assert checked.faults == []
    assert checked.ignored == 12
    assert checked.pixels[0] == 20


def test_rows_of_two_encodings_are_counted_each_by_its_own(good, tmp_path):
    train_ids = label(tmp_path / "c_labelTrainIds.png", value=7)
    rows = [good[0], Row(image(tmp_path / "c.png"), train_ids, encoding="labelTrainIds")]
    checked = check_rows(rows, CITYSCAPES, labelled=True)
    assert (checked.faults, checked.pixels[0], checked.pixels[7]) == ([], 32, 32)


@pytest.mark.fault(24, "an empty set is refused")
def test_no_rows_are_a_fault():
    assert faults([]) == ["no images"]


def test_a_missing_label_is_a_fault_only_where_the_set_needs_labels(good):
    rows = [Row(good[0].image), good[1]]
    [fault] = faults(rows)
    assert str(good[0].image) in fault
    assert "no label" in fault
    assert faults(rows, labelled=False) == []


def test_a_missing_reference_file_is_a_fault_but_no_reference_is_none(good):
    good[0].reference.unlink()
    assert len(faults(good)) == 2
    assert all(str(row.image) in fault for row, fault in zip(good, faults(good), strict=True))
    assert all("reference.png: no such file" in fault for fault in faults(good))
    assert faults([Row(row.image, row.label, None, row.encoding) for row in good]) == []


@pytest.mark.fault(24, "both files and sizes are named")
def test_a_label_of_another_size_names_both_files_and_sizes(good):
    label(good[0].label, size=(4, 8))
    [fault] = faults(good)
    assert f"label {good[0].label}: 4x8" in fault
    assert f"{good[0].image} has 8x4" in fault


def test_a_label_is_compared_with_the_upright_image(good):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 8)).save(good[0].image, exif=exif)
    checked = check_rows(good, CITYSCAPES, labelled=True)
    assert checked.faults == []
    assert (checked.rows[0].width, checked.rows[0].height) == (8, 4)


@pytest.mark.fault(24, "the id and the file are named")
def test_an_id_that_is_neither_class_nor_void_is_named_with_its_file(good):
    raw = np.full((4, 8), 7, dtype=np.uint8)
    raw[0, 0], raw[0, 1] = 77, 200
    Image.fromarray(raw).save(good[1].label)
    [fault] = faults(good)
    assert fault.startswith(f"label {good[1].label}: id 77, 200 is neither a class nor void")


def test_a_map_that_was_smoothed_has_too_many_unknown_ids_to_list_and_says_why(good):
    Image.fromarray(np.arange(40, 72, dtype=np.uint8).reshape(4, 8)).save(good[1].label)
    [fault] = faults(good)
    assert fault.startswith(f"label {good[1].label}: 32 ids, such as 40, 41, 42, are neither a class nor void")
    assert "resize it by nearest neighbour alone" in fault


def test_label_ids_under_the_name_of_train_ids_are_found_out(good, tmp_path):
    wrong = label(tmp_path / "b_labelTrainIds.png", value=26)
    [fault] = faults([good[0], Row(good[1].image, wrong, encoding="labelTrainIds")])
    assert "id 26" in fault


TRAIN_IDS = [0, 2, 10, 13, 8]  # road, building, sky, car, vegetation; as label ids: void, void, void, fence, sidewalk


def bands(path, ids):
    Image.fromarray(np.repeat(np.array(ids, dtype=np.uint8), 8).reshape(-1, 8)).save(path)


def rows_with_bands(folder, *labels):
    """A row for each list of ids, whose label file is called labelIds."""
    rows = []
    for number, ids in enumerate(labels):
        path = folder / f"{number}_labelIds.png"
        bands(path, ids)
        rows.append(Row(image(folder / f"{number}.png", (8, len(ids))), path, encoding="labelIds"))
    return rows


def test_train_ids_under_the_name_of_label_ids_are_found_out_by_the_whole_set(tmp_path):
    rows = rows_with_bands(tmp_path, TRAIN_IDS, [0, 2, 10])
    [fault] = faults(rows)
    assert fault.startswith(
        f"label {rows[0].label} and all others of its kind: as labelIds, 75% of their pixels are void"
    )
    assert "25% have ids that are rare in labelIds and common in labelTrainIds; if they are labelIds, say so:" in fault
    assert "if they are labelTrainIds, say `encoding: labelTrainIds`, or give them names that end in" in fault


ROADS = [0, 0, 0, 7, 17]  # nothing but a road and a pole is drawn


@pytest.mark.fault(65, "a note, since the numbers may be right")
def test_label_ids_of_roads_alone_are_no_fault_but_a_note_that_names_both_meanings(tmp_path):
    checked = check_rows(rows_with_bands(tmp_path, ROADS, ROADS), CITYSCAPES, labelled=True)
    [note] = [note for note in checked.notes if note.startswith("label ")]
    assert checked.faults == []
    assert "60% of their pixels are void" in note
    assert "if they are labelIds, say so" in note
    assert "if they are labelTrainIds, say" in note
    assert (checked.pixels[0], checked.pixels[5]) == (16, 16)


@pytest.mark.parametrize(("labels", "sure"), [(ROADS, False), (TRAIN_IDS, True)])
@pytest.mark.parametrize("keep", [None, ["road", "pole"]])
@pytest.mark.fault(65, "what the user states is never refused, and remarked on only where it is wrong for sure")
def test_an_encoding_that_the_user_states_is_never_doubted_without_need(tmp_path, labels, sure, keep):
    classes = CITYSCAPES.subset(keep) if keep else CITYSCAPES
    rows = rows_with_bands(tmp_path, [*labels, 7], labels)
    checked = check_rows(rows, classes, labelled=True, stated=True)
    assert checked.faults == []
    notes = [note for note in checked.notes if "label" in note]
    assert len(notes) == sure
    assert all("read as labelIds, as `encoding` says; if they are labelTrainIds, say" in note for note in notes)


@pytest.mark.parametrize(
    "labels",
    [
        [TRAIN_IDS, [0, 0, 26]],  # a car, which no train id means
        [[7, 8, 0]],  # mostly classes
        [[0, 0, 0, 1, 7], [255, 255, 26, 26, 26]],
        [[255, 255, 255, 7]],  # void in both
    ],
)
def test_label_ids_are_not_taken_for_train_ids(tmp_path, labels):
    checked = check_rows(rows_with_bands(tmp_path, *labels), CITYSCAPES, labelled=True)
    assert checked.faults == []
    assert not any("labelTrainIds" in note for note in checked.notes)


def test_a_class_list_that_knows_label_ids_alone_cannot_tell_train_ids(tmp_path):
    alone = replace(CITYSCAPES, encodings={"labelIds": CITYSCAPES.encodings["labelIds"]})
    assert check_rows(rows_with_bands(tmp_path, TRAIN_IDS), alone, labelled=True).faults == []


# labels that are shared, or smoothed


@pytest.mark.parametrize("kind", ["copy", "link", "other"])
@pytest.mark.fault(72, "one label map of several images, by link or copy, is noted")
def test_equal_label_maps_of_different_images_are_noted(tmp_path, kind):
    rows = rows_with_bands(tmp_path, [7, 17], [7, 23])
    image(rows[1].image, (8, 2), 91)
    if kind != "other":
        rows[1].label.unlink()
        shutil.copy(rows[0].label, rows[1].label) if kind == "copy" else rows[1].label.symlink_to(rows[0].label)
    checked = check_rows(rows, CITYSCAPES, labelled=True, stated=True)
    notes = [note for note in checked.notes if "share a label map" in note]
    assert checked.faults == []
    assert len(notes) == (kind != "other")
    assert all(f"such as {rows[1].image} (whose {rows[1].label} is {rows[0].label})" in note for note in notes)


@pytest.mark.parametrize(
    ("resized", "noted"),
    [
        (Image.Resampling.NEAREST, False),
        (Image.Resampling.BILINEAR, True),
        (Image.Resampling.BICUBIC, True),
        (Image.Resampling.LANCZOS, True),
    ],
)
@pytest.mark.fault(67, "label maps that were smoothed are noted, though all of their ids are legal")
def test_label_maps_that_were_smoothed_are_noted(tmp_path, resized, noted):
    drawn = np.kron(np.random.default_rng(0).choice([7, 11, 26], (30, 60)), np.ones((8, 8))).astype(np.uint8)
    smaller = Image.fromarray(drawn).resize((300, 150), resized)
    smaller.save(tmp_path / "label.png")
    Image.new("RGB", (300, 150)).save(tmp_path / "image.png")
    row = Row(tmp_path / "image.png", tmp_path / "label.png", encoding="labelIds")
    checked = check_rows([row], CITYSCAPES, labelled=True, stated=True)
    assert checked.faults == []
    assert any("by nearest neighbour" in note for note in checked.notes) == noted


# palettes and colours


def own_order(path, ids=(0, 1, 2)):
    """A label map in a tool's own order: 0 a pole, 1 the sky, 2 a road."""
    bands(path, list(ids))
    with Image.open(path) as stored:
        found = Image.frombytes("P", stored.size, stored.tobytes())
    found.putpalette([153, 153, 153, 70, 130, 180, 128, 64, 128])
    found.save(path)
    return path


@pytest.fixture
def in_own_order(tmp_path):
    return [
        Row(image(tmp_path / f"{n}.png", (8, 3), n), own_order(tmp_path / f"{n}_l.png"), encoding="labelTrainIds")
        for n in range(3)
    ]


@pytest.mark.fault(67, "one line for all files of a set, with an example and both ways out")
def test_a_palette_that_contradicts_the_numbers_is_a_fault_with_both_ways_out(in_own_order):
    [fault] = check_rows(in_own_order, CITYSCAPES, labelled=True, stated=True).faults
    assert fault.startswith(f"label {in_own_order[0].label} and 2 more: the colours of the palette contradict")
    assert "0 means road, and has the colour of pole (and 2 more)" in fault
    assert "say `encoding: colours`" in fault
    assert "`palette: ignore`" in fault


def test_palettes_that_differ_from_file_to_file_are_one_line(in_own_order):
    with Image.open(in_own_order[0].label) as found:
        found.putpalette([*found.getpalette("RGB")[:9], 1, 2, 3])
        found.save(in_own_order[0].label)
    [fault] = faults(in_own_order)
    assert "and 2 more" in fault


@pytest.mark.fault(67, "the numbers count, and a note says what the colours say")
def test_the_numbers_count_where_the_user_ignores_palettes(in_own_order):
    checked = check_rows(in_own_order, CITYSCAPES, labelled=True, ignore_palettes=True)
    assert checked.faults == []
    assert any("contradict" in note for note in checked.notes)
    assert checked.pixels[0] == 3 * 8


@pytest.mark.fault(67, "the colours count")
def test_the_colours_count_where_the_user_says_so(in_own_order):
    checked = check_rows([replace(row, encoding="colours") for row in in_own_order], CITYSCAPES, labelled=True)
    assert checked.faults == []
    assert {
        CITYSCAPES.names[index]: int(count) for index, count in enumerate(checked.pixels) if count
    } == dict.fromkeys(["road", "pole", "sky"], 24)


# several images of a set


@pytest.mark.fault(72, "a note with the count and an example, for links and copies")
def test_one_picture_under_several_names_is_noted(tmp_path):
    first = image(tmp_path / "a.png", value=1)
    (tmp_path / "b.png").symlink_to(first)
    (tmp_path / "c.png").hardlink_to(first)
    shutil.copy(first, tmp_path / "d.png")
    rows = [Row(tmp_path / f"{name}.png") for name in "abcd"] + [Row(image(tmp_path / "e.png", value=2))]
    checked = check_rows(rows, CITYSCAPES, labelled=False)
    [note] = checked.notes
    assert checked.faults == []
    assert note.startswith(
        f"3 of 5 images repeat another under a second name, by link or copy, such as {rows[1].image}"
    )


def test_an_image_whose_reference_is_its_own_copy_is_noted(tmp_path):
    shutil.copy(image(tmp_path / "a.png"), tmp_path / "b.png")
    [note] = check_rows([Row(tmp_path / "a.png", reference=tmp_path / "b.png")], CITYSCAPES, labelled=False).notes
    assert note.startswith(
        f"1 of 1 images have themselves for a day reference, by link or copy, such as {tmp_path}/a.png"
    )


def test_the_twins_of_two_sets_are_found_by_name_link_and_content(tmp_path):
    first = [Row(image(tmp_path / f"{n}.png", value=n)) for n in range(4)]
    (tmp_path / "link.png").symlink_to(tmp_path / "1.png")
    shutil.copy(tmp_path / "2.png", tmp_path / "copy.png")
    other = [tmp_path / "x/../0.png", tmp_path / "link.png", tmp_path / "copy.png", image(tmp_path / "9.png", value=9)]
    (tmp_path / "x").mkdir()
    checked = [check_rows(rows, CITYSCAPES, labelled=False).rows for rows in ([Row(path) for path in other], first)]
    assert same_pictures(*checked) == list(zip(other, [tmp_path / f"{n}.png" for n in range(3)], strict=False))


def test_the_content_of_an_image_is_known_apart_from_that_of_its_label(good):
    one, other = check_rows(good, CITYSCAPES, labelled=True).rows
    assert one.image_content == other.image_content  # of one value
    assert one.content != other.content
    assert one.reference_content == other.reference_content != ""


@pytest.mark.fault(71, "the fewer are counted, with an example of either")
def test_images_of_both_orientations_are_noted_with_their_counts_and_an_example(tmp_path):
    sizes = [(8, 4), (8, 4), (4, 8), (4, 4)]
    rows = [Row(image(tmp_path / f"{n}.png", size, n)) for n, size in enumerate(sizes)]
    [note] = check_rows(rows, CITYSCAPES, labelled=False).notes
    assert note.startswith(
        f"1 of 4 images are upright and 2 are wide, such as {tmp_path}/2.png (4x8) and {tmp_path}/0.png (8x4): all are"
        " resized to one size"
    )
    assert check_rows([rows[0], rows[1], rows[3]], CITYSCAPES, labelled=False).notes == []


@pytest.mark.fault(71, "the tag that turns the image is named as the cause")
def test_a_label_that_is_not_turned_as_its_image_is_says_so(good):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(good[0].image, exif=exif)
    [fault] = faults(good)
    assert "since its EXIF tag turns it (orientation 6), and the label is not turned; turn the label like it" in fault


@pytest.mark.fault(71, "a note, where sizes do not tell whether the label was turned too")
def test_labelled_images_that_are_turned_upside_down_are_noted(good):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (8, 4)).save(good[0].image, exif=exif)
    notes = check_rows(good, CITYSCAPES, labelled=True).notes
    [note] = [note for note in notes if "EXIF" in note]
    assert note.startswith(f"1 of 2 labelled images are turned upright by their EXIF tag, such as {good[0].image} (or")


@pytest.mark.parametrize("role", ["image", "label", "reference"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "gif", "16 bits"])
@pytest.mark.fault(22, "each file is named with its role and the remedy")
def test_each_damaged_file_of_each_role_is_named(good, tmp_path, role, damage):
    bad = tmp_path / f"bad_{role}.png"
    if damage == "gif":
        Image.new("L", (8, 4), 7).save(bad, "GIF")
    elif damage == "16 bits":
        Image.fromarray(np.full((4, 8), 7, dtype=np.uint16)).save(bad, "PNG")
    elif damage == "truncated":
        noise = np.random.default_rng(0).integers(0, 19, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(bad)
        bad.write_bytes(bad.read_bytes()[:500])
    elif damage == "empty":
        bad.touch()
    row = good[0]
    parts = {"image": row.image, "label": row.label, "reference": row.reference} | {role: bad}
    [fault] = faults([Row(**parts, encoding="labelIds"), good[1]])
    assert fault.startswith(f"{role} {bad}: ")
    assert "\n" not in fault


@pytest.mark.fault(22, "all faults of a set are listed at once")
def test_all_faults_are_listed_at_once(good):
    good[0].image.write_bytes(b"")
    label(good[0].label, value=77)
    good[1].label.unlink()
    assert len(faults(good)) == 3


@pytest.mark.fault(24, "an image listed twice is named")
def test_an_image_listed_twice_is_a_fault_however_its_path_is_spelt(good, tmp_path):
    (tmp_path / "x").mkdir()
    again = replace(good[0], image=tmp_path / "x" / ".." / "a.png")
    [fault] = faults([*good, again])
    assert fault.startswith(f"image {good[0].image}: it is listed 2 times with the same reference")


def test_an_image_listed_with_two_references_is_a_fault(good, tmp_path):
    other = Row(good[0].image, good[0].label, image(tmp_path / "other.png"), "labelIds")
    [fault] = faults([*good, other])
    assert fault.startswith(f"image {good[0].image}: it is listed with 2 different references")


def test_a_reference_of_many_images_is_no_fault_but_a_label_of_two_is(good):
    rows = [good[0], Row(good[1].image, good[0].label, good[1].reference, "labelIds")]
    [fault] = faults(rows)
    assert fault.startswith(f"label {good[0].label}: it is listed for several images")


def test_an_image_that_is_its_own_label_or_reference_is_a_fault(good, tmp_path):
    [fault] = faults([Row(good[0].image, good[0].label, good[0].image, "labelIds")])
    assert fault == f"image {good[0].image}: it is listed as its own day reference"
    grey = label(tmp_path / "grey.png")
    [fault] = faults([Row(grey, grey, encoding="labelIds")])
    assert fault == f"image {grey}: it is listed as its own label map"


@pytest.mark.fault(24, "one label without a class is allowed, a set of them is not")
def test_one_label_that_is_all_void_is_allowed_but_not_a_set_of_them(good):
    label(good[0].label, value=0)
    assert faults(good) == []
    label(good[1].label, value=255)
    [fault] = faults(good)
    assert "every pixel is void" in fault
    assert str(good[0].label) in fault


def test_the_result_does_not_depend_on_the_number_of_threads(good, tmp_path):
    good[0].image.write_bytes(b"")
    rows = [*good, *(Row(image(tmp_path / f"n{i}.png"), None, tmp_path / f"r{i}.png") for i in range(8))]
    one = check_rows(rows, CITYSCAPES, labelled=True, workers=1)
    many = check_rows(rows, CITYSCAPES, labelled=True, workers=8)
    assert one.faults == many.faults
    assert one.rows == many.rows
    assert one.pixels.tolist() == many.pixels.tolist()


def test_a_shared_reference_is_opened_once(good, monkeypatch):
    opened = []
    real = checks.read_upright

    def counting(path):
        opened.append(path)
        return real(path)

    monkeypatch.setattr(checks, "read_upright", counting)
    assert faults(good) == []
    assert sorted(opened) == sorted({good[0].image, good[1].image, good[0].reference})


def test_a_row_with_another_image_has_its_size_and_another_digest_and_keeps_its_label(good, tmp_path):
    row = check_rows(good, CITYSCAPES, labelled=True).rows[0]
    other = image(tmp_path / "other.png", size=(4, 2), value=3)
    changed = with_image(row, other)
    assert (changed.image, changed.width, changed.height) == (other, 4, 2)
    assert (changed.label, changed.encoding) == (row.label, row.encoding)
    assert changed.content != row.content
    image(tmp_path / "other.png", size=(4, 2), value=5)
    assert with_image(row, other).content != changed.content
