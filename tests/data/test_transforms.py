import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.data.augmentation import each, photometric, strong
from loopda.data.transforms import View, random_view, to_bytes, to_images, to_labels
from loopda.randomness import generator


def coordinates(width, height):
    """An image whose pixels say where they are: (column, row, 77)."""
    grid = np.indices((height, width), dtype=np.uint8)
    return np.stack([grid[1], grid[0], np.full((height, width), 77, dtype=np.uint8)], axis=-1)


def test_a_view_is_a_rectangle_and_its_mirror_image():
    image = coordinates(9, 7)
    part = View(2, 3, 4, 5, False).of(image)
    assert part[:, :, 1].tolist() == [[row] * 5 for row in (2, 3, 4, 5)]
    assert part[:, :, 0].tolist() == [[3, 4, 5, 6, 7]] * 4
    mirrored = View(2, 3, 4, 5, True).of(image)
    assert mirrored[:, :, 0].tolist() == [[7, 6, 5, 4, 3]] * 4
    assert mirrored[:, :, 1].tolist() == part[:, :, 1].tolist()
    assert View(2, 3, 4, 5, True).of(image[:, :, 0]).tolist() == mirrored[:, :, 0].tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_a_random_view_has_the_size_of_the_crop_and_lies_inside_the_image(seed, size, crop):
    view = random_view(np.random.default_rng(seed), size=size, crop=crop)
    expected = min(crop[1], size[1]), min(crop[0], size[0])
    assert (view.height, view.width) == expected
    assert view.of(coordinates(*size)).shape[:2] == expected


def test_the_box_of_a_view_says_where_its_edges_lie_in_the_image():
    assert View(4, 10, 8, 20, False).box((40, 16)) == (0.25, 0.25, 0.75, 0.75)
    assert View(4, 10, 8, 20, True).box((40, 16)) == (0.75, 0.25, 0.25, 0.75)
    assert View(0, 0, 16, 40, False).box((40, 16)) == (0, 0, 1, 1)


def test_every_place_of_a_crop_and_both_sides_are_drawn_about_equally_often():
    rng = np.random.default_rng(0)
    views = [random_view(rng, size=(12, 7), crop=(10, 6)) for _ in range(1200)]
    places = {(top, left, flipped): 0 for top in range(2) for left in range(3) for flipped in (False, True)}
    for view in views:
        places[view.top, view.left, view.flipped] += 1
    assert min(places.values()) > 60
    assert max(places.values()) < 140


def test_bytes_become_numbers_between_minus_one_and_one_channels_first():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2] = (0, 51, 255)
    batch = to_images([image, image])
    assert batch.dtype == torch.float32
    assert tuple(batch.shape) == (2, 3, 2, 3)
    assert batch[1, :, 1, 2].tolist() == pytest.approx([-1, -0.6, 1])


def test_every_byte_survives_the_way_into_a_tensor_and_back():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image[:, :, 1] = image[::-1, :, 1]
    assert np.array_equal(to_bytes(to_images([image, image[::-1]])), np.stack([image, image[::-1]]))


def test_numbers_beyond_the_range_become_black_and_white():
    assert to_bytes(torch.tensor([-3.0, 3.0, 0.001]).reshape(1, 3, 1, 1)).tolist() == [[[[0, 255, 128]]]]


def test_labels_keep_their_values_as_whole_numbers():
    labels = to_labels([np.array([[0, 18], [254, 255]], dtype=np.uint8)])
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[[0, 18], [254, 255]]]


def test_a_generator_is_a_pure_function_of_seed_purpose_and_numbers():
    def draws(*arguments):
        return generator(*arguments).integers(0, 2**62, 4).tolist()

    assert draws(1, "night view", 3, 0) == draws(1, "night view", 3, 0)
    purposes = [("night view", 3, 0), ("day view", 3, 0), ("night view", 4, 0), ("night view", 3, 1)]
    others = [(1, *purpose) for purpose in purposes] + [(2, "night view", 3, 0)]
    assert len({tuple(draws(*arguments)) for arguments in others}) == 5


def test_strong_augmentation_keeps_shape_and_range_and_follows_pytorchs_seed():
    images = to_images([coordinates(24, 16)] * 4)
    torch.manual_seed(3)
    first = each(strong(), images)
    torch.manual_seed(3)
    assert torch.equal(each(strong(), images), first)
    assert first.shape == images.shape
    assert first.min() >= -1
    assert first.max() <= 1
    assert len({image.numpy().tobytes() for image in first}) > 1  # each image has its own random numbers
    assert not torch.allclose(first, images)


def test_a_strong_augmentation_of_strength_0_keeps_every_image():
    torch.manual_seed(0)
    images = torch.rand(16, 3, 16, 24) * 2 - 1
    assert torch.allclose(each(strong(0.0), images), images, atol=1e-6)
    assert not torch.allclose(each(strong(0.5), images), images)


def test_a_photometric_augmentation_moves_colours_alike_everywhere_and_no_edge():
    torch.manual_seed(0)
    images = torch.full((32, 3, 16, 24), -0.2)
    images[..., 12:] = torch.tensor([0.1, 0.3, 0.0])[:, None, None]  # two even halves
    changed = each(photometric(0.8, 0.0), images)
    assert not torch.allclose(changed, images)
    halves = changed[..., :12], changed[..., 12:]
    assert all(torch.allclose(half, half[..., :1, :1].expand_as(half), atol=1e-6) for half in halves)
    brightness = changed.mean(dim=(1, 2, 3))
    assert brightness.std() > 0.1
    blurred = each(photometric(0.0, 1.0), images)
    assert torch.allclose(blurred[..., :8], images[..., :8], atol=1e-5)
    assert not torch.allclose(blurred[..., 11:13], images[..., 11:13])
