import base64
import io

import numpy as np
import pytest
from PIL import Image

from loopda.errors import DataError
from loopda.labels.png import write_label
from loopda.report.pictures import label_picture, picture

COLOURS = np.array([[128, 64, 128], [0, 0, 142]], dtype=np.uint8)


def opened(uri):
    head, _, data = uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{image.format.lower()};base64"
    return image


def test_a_label_map_takes_the_colours_of_its_classes_and_black_for_none(tmp_path):
    write_label(tmp_path / "label.png", np.array([[0, 1], [255, 1]], dtype=np.uint8))
    image = opened(label_picture(tmp_path / "label.png", COLOURS, 100))
    assert np.array(image.convert("RGB")).tolist() == [
        [[128, 64, 128], [0, 0, 142]],
        [[0, 0, 0], [0, 0, 142]],
    ]


def test_a_label_map_that_is_scaled_down_keeps_pure_colours(tmp_path):
    label = np.random.default_rng(0).integers(0, 2, (40, 80), dtype=np.uint8)
    write_label(tmp_path / "label.png", label)
    image = opened(label_picture(tmp_path / "label.png", COLOURS, 30))
    assert image.size == (30, 15)
    assert {colour for _, colour in image.convert("RGB").getcolors()} == {(128, 64, 128), (0, 0, 142)}


def test_a_label_map_with_ids_outside_of_the_classes_is_refused(tmp_path):
    write_label(tmp_path / "label.png", np.array([[0, 7]], dtype=np.uint8))
    with pytest.raises(DataError, match=r"label\.png: ids \[7\]"):
        label_picture(tmp_path / "label.png", COLOURS, 100)


def test_a_photograph_becomes_a_jpeg_close_to_it_and_no_wider_than_asked(tmp_path):
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:32, None], 128.0), axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    image = opened(picture(tmp_path / "photo.png", 64))
    assert image.format == "JPEG"
    assert np.abs(np.array(image).astype(int) - pixels).mean() < 4
    assert opened(picture(tmp_path / "photo.png", 16)).size == (16, 8)


def test_a_drawing_of_few_colours_stays_exact(tmp_path):
    pixels = COLOURS[np.random.default_rng(0).integers(0, 2, (20, 30))]
    Image.fromarray(pixels).save(tmp_path / "drawing.png")
    image = opened(picture(tmp_path / "drawing.png", 100))
    assert image.format == "PNG"
    assert np.array_equal(np.array(image.convert("RGB")), pixels)


def test_a_photograph_of_pure_noise_has_a_picture_too(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (160, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert opened(picture(tmp_path / "noise.png", 400)).size == (320, 160)
