import numpy as np
import pytest
import torch
from PIL import Image

from loopda.data import batches
from loopda.data.batches import PseudoLabels, on_device
from loopda.data.dataset import Frames
from loopda.data.manifest import Row
from loopda.data.sampling import prefetched
from loopda.data.transforms import to_bytes, to_images
from loopda.labels.classes import CITYSCAPES

WIDTH, HEIGHT = 40, 24
CROP = (20, 16)
COUNT = 5
SAMPLING = {"batch_size": 2, "crop": CROP, "seed": 3}
STEPS = range(1, 21)

ROWS, COLUMNS = np.indices((HEIGHT, WIDTH))


def day_batch(*arguments, **settings):
    return on_device(batches.day_batch(*arguments, **settings), torch.device("cpu"))


def night_batch(*arguments, **settings):
    return on_device(batches.night_batch(*arguments, **settings), torch.device("cpu"))


def picture(number):
    """Each pixel says where it is and to which picture it belongs: (column, row, number)."""
    return np.stack([COLUMNS, ROWS, np.full_like(ROWS, number)], axis=-1).astype(np.uint8)


def label_of(rows, columns, number):
    """A label that depends on the place and on the picture."""
    return (rows // 3 * 7 + columns // 2 + number) % 19


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        Image.fromarray(picture(number)).save(path / f"{number}.png")
        Image.fromarray(picture(100 + number)).save(path / f"reference{number}.png")
        Image.fromarray(label_of(ROWS, COLUMNS, number).astype(np.uint8)).save(path / f"label{number}.png")
    return path


@pytest.fixture(scope="module")
def day(folder):
    rows = [Row(folder / f"{n}.png", folder / f"label{n}.png", None, "labelTrainIds") for n in range(COUNT)]
    return Frames(rows, CITYSCAPES, (WIDTH, HEIGHT))


def references(folder, numbers):
    """The night frames, of which `numbers` have a day reference."""
    rows = [
        Row(folder / f"{n}.png", None, folder / f"reference{n}.png" if n in numbers else None) for n in range(COUNT)
    ]
    return Frames(rows, CITYSCAPES, (WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def night(folder):
    return references(folder, range(COUNT))


@pytest.fixture(scope="module")
def pseudo(folder):
    return PseudoLabels(
        {folder / f"{n}.png": label_of(ROWS, COLUMNS, n + 1).astype(np.uint8) for n in range(COUNT)},
        {folder / f"reference{n}.png": label_of(ROWS, COLUMNS, n + 2).astype(np.uint8) for n in range(COUNT)},
    )


def places(image):
    """(columns, rows, number) that an image of a batch says."""
    pixels = to_bytes(image[None])[0].astype(int)
    assert len(np.unique(pixels[:, :, 2])) == 1
    return pixels[:, :, 0], pixels[:, :, 1], int(pixels[0, 0, 2])


def is_mirrored(columns):
    step = columns[0, 1] - columns[0, 0]
    assert np.array_equal(np.diff(columns, axis=1), np.full((CROP[1], CROP[0] - 1), step))
    return step == -1


def test_a_day_batch_shows_images_and_labels_through_the_same_view(day):
    mirrored = set()
    for step in STEPS:
        batch = day_batch(day, step, **SAMPLING)
        assert tuple(batch.images.shape) == (2, 3, CROP[1], CROP[0])
        for image, label in zip(batch.images, batch.labels, strict=True):
            columns, rows, number = places(image)
            assert label.tolist() == label_of(rows, columns, number).tolist()
            mirrored.add(is_mirrored(columns))
    assert mirrored == {False, True}


def test_night_reference_and_both_pseudo_labels_share_one_view(night, pseudo):
    mirrored = set()
    for step in STEPS:
        batch = night_batch(night, step, pseudo=pseudo, **SAMPLING)
        assert batch.paired.tolist() == [True, True]
        for sample in range(2):
            columns, rows, number = places(batch.images[sample])
            columns_ud, rows_ud, number_ud = places(batch.references[sample])
            assert number_ud == 100 + number
            assert np.array_equal(columns, columns_ud)
            assert np.array_equal(rows, rows_ud)
            assert batch.labels[sample].tolist() == label_of(rows, columns, number + 1).tolist()
            assert batch.reference_labels[sample].tolist() == label_of(rows, columns, number + 2).tolist()
            mirrored.add(is_mirrored(columns))
    assert mirrored == {False, True}


def test_boxes_say_where_each_crop_lies_in_its_image_mirrored_ones_from_right_to_left(day, night):
    for step in STEPS:
        for batch in (day_batch(day, step, **SAMPLING), night_batch(night, step, **SAMPLING)):
            assert batch.boxes.shape == (2, 4)
            for image, (left, top, right, bottom) in zip(batch.images, batch.boxes.tolist(), strict=True):
                columns, rows, _ = places(image)
                assert (top * HEIGHT, bottom * HEIGHT) == pytest.approx((rows[0, 0], rows[-1, 0] + 1))
                # of each pixel its centre, half a pixel from its number
                across = [left + (right - left) * (j + 0.5) / CROP[0] for j in range(CROP[0])]
                assert [x * WIDTH for x in across] == pytest.approx((columns[0] + 0.5).tolist(), abs=1e-4)


def test_the_views_of_the_samples_of_a_batch_and_of_two_steps_differ(day):
    views = set()
    for step in STEPS:
        for image in day_batch(day, step, **SAMPLING).images:
            columns, rows, _ = places(image)
            views.add((int(columns[0, 0]), int(rows[0, 0])))
    assert len(views) > 30  # of 40, on 21 * 9 places and two sides


def test_samples_without_a_reference_are_marked_and_left_out_of_the_references(folder, pseudo):
    frames = references(folder, {1, 3})
    seen = set()
    for step in STEPS:
        batch = night_batch(frames, step, pseudo=pseudo, **SAMPLING)
        numbers = [places(image)[2] for image in batch.images]
        assert batch.paired.tolist() == [number in {1, 3} for number in numbers]
        paired = [number for number in numbers if number in {1, 3}]
        assert [places(image)[2] - 100 for image in batch.references] == paired
        assert tuple(batch.references.shape) == (len(paired), 3, CROP[1], CROP[0])
        assert tuple(batch.reference_labels.shape) == (len(paired), CROP[1], CROP[0])
        for image, label, number in zip(batch.references, batch.reference_labels, paired, strict=True):
            columns, rows, _ = places(image)
            assert label.tolist() == label_of(rows, columns, number + 2).tolist()
        seen.add(len(paired))
    assert seen == {0, 1, 2}


def test_without_pseudo_labels_all_offline_labels_are_void(night):
    batch = night_batch(night, 1, **SAMPLING)
    assert batch.labels.eq(255).all()
    assert batch.reference_labels.eq(255).all()
    assert batch.labels.shape == batch.reference_labels.shape == (2, CROP[1], CROP[0])


def test_pseudo_labels_do_not_change_what_is_seen(night, pseudo):
    for step in (1, 2, 9):
        plain, labelled = (night_batch(night, step, pseudo=labels, **SAMPLING) for labels in (None, pseudo))
        assert torch.equal(plain.images, labelled.images)
        assert torch.equal(plain.references, labelled.references)


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.fault(33, "the same batches")
def test_batches_are_the_same_for_any_number_of_workers(day, night, pseudo, workers):
    def make(step):
        return (*day_batch(day, step, **SAMPLING), *night_batch(night, step, pseudo=pseudo, **SAMPLING))

    alone = list(prefetched(make, range(1, 13), workers=0))
    together = list(prefetched(make, range(1, 13), workers=workers))
    assert all(equal(a, b) for a, b in zip(alone, together, strict=True))
    resumed = list(prefetched(make, range(8, 13), workers=workers))
    assert all(equal(a, b) for a, b in zip(alone[7:], resumed, strict=True))


def test_batches_are_pure_functions_of_seed_and_step(day):
    assert equal(day_batch(day, 4, **SAMPLING), day_batch(day, 4, **SAMPLING))
    assert not equal(day_batch(day, 4, **SAMPLING), day_batch(day, 5, **SAMPLING))
    assert not equal(day_batch(day, 4, **SAMPLING), day_batch(day, 4, **SAMPLING | {"seed": 4}))


def test_every_epoch_shows_each_picture_once(day, night):
    for make, frames in ((day_batch, day), (night_batch, night)):
        made = [make(frames, step, **SAMPLING) for step in range(1, 11)]
        numbers = [places(image)[2] for batch in made for image in batch.images]
        for epoch in range(4):
            assert sorted(numbers[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))


def test_a_crop_larger_than_the_images_is_the_whole_image(day):
    batch = day_batch(day, 1, batch_size=1, crop=(100, 200), seed=3)
    columns, rows, number = places(batch.images[0])
    assert columns.shape == (HEIGHT, WIDTH)
    assert np.array_equal(rows, ROWS)
    assert batch.labels[0].tolist() == label_of(rows, columns, number).tolist()


def test_images_and_labels_travel_as_bytes_and_become_numbers_on_the_device(day, night, pseudo):
    loaded = (batches.day_batch(day, 1, **SAMPLING), batches.night_batch(night, 1, pseudo=pseudo, **SAMPLING))
    for packed, unpacked in zip(loaded, on_device(loaded, torch.device("cpu")), strict=True):
        assert type(unpacked) is type(packed)
        for name in set(packed._fields) - {"boxes", "paired"}:
            assert getattr(packed, name).dtype == torch.uint8
        assert unpacked.images.dtype == torch.float32
        assert unpacked.labels.dtype == torch.int64
        assert torch.equal(unpacked.boxes, packed.boxes)
        assert torch.equal(unpacked.images, to_images(list(packed.images.permute(0, 2, 3, 1).numpy())))
