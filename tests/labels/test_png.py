import io
import itertools
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps
from public_trees import label_16_bit, png_bytes

from loopda.errors import DataError, DeviceError
from loopda.labels import png
from loopda.labels.classes import CITYSCAPES, SYNTHIA
from loopda.labels.png import read_grey, read_image, read_label, write_confidence, write_image, write_label

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
LABEL = (np.arange(24 * 32) % 19).astype(np.uint8).reshape(24, 32)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# images


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_is_read_as_rgb_at_its_size(tmp_path, kind):
    path = tmp_path / "image"
    Image.fromarray(NOISE).save(path, kind)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (32, 24))
    if kind == "PNG":
        assert np.array_equal(np.array(image), NOISE)


def test_grey_palette_and_opaque_images_become_the_rgb_they_show(tmp_path):
    grey = Image.fromarray(NOISE[..., 0])
    palette = Image.fromarray(NOISE).quantize(16)
    opaque = Image.fromarray(NOISE).convert("RGBA")
    for image in (grey, palette, opaque):
        path = tmp_path / f"{image.mode}.png"
        image.save(path)
        assert np.array_equal(np.array(read_image(path)), np.array(image.convert("RGB")))


def test_a_picture_turned_by_exif_is_read_upright(tmp_path):
    upright = Image.new("RGB", (4, 2), (0, 0, 0))
    upright.putpixel((0, 0), (255, 0, 0))
    # what the camera stores for orientation 6 ("turn by 90 degrees clockwise to show")
    upright.rotate(90, expand=True).save(tmp_path / "a.png", exif=turned(6))
    image = read_image(tmp_path / "a.png")
    assert image.size == (4, 2)
    assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_as_pillow_itself_turns_it(tmp_path, orientation):
    path = tmp_path / "a.png"
    Image.fromarray(NOISE).save(path, exif=turned(orientation))
    with Image.open(path) as stored:
        expected = np.array(ImageOps.exif_transpose(stored))
    assert np.array_equal(np.array(read_image(path)), expected)


BAD_IMAGES = {
    "truncated.png": (encoded(Image.fromarray(NOISE), "PNG")[:1000], "damaged image"),
    "truncated.jpg": (encoded(Image.fromarray(NOISE), "JPEG")[:-20], "damaged image"),
    "empty.png": (b"", "an empty file"),
    "text.png": (b"404: not found", "not a PNG or JPEG file"),
    "gif.png": (encoded(Image.fromarray(NOISE).quantize(8), "GIF"), "not a PNG or JPEG file"),
    "tiff.jpg": (encoded(Image.fromarray(NOISE), "TIFF"), "not a PNG or JPEG file"),
    "cmyk.jpg": (encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"), "colour mode CMYK"),
    "grey16.png": (png_bytes(2, 2, 16, 0, [b"\1\2\3\4"] * 2), "16 bits a channel"),
    "rgb16.png": (png_bytes(1, 2, 16, 2, [b"\1\2\3\4\5\6"] * 2), "16 bits a channel"),
    "alpha.png": (encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 128)), "PNG"), "transparent pixels"),
    "keyed.png": (encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7), "transparent pixels"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.fault(22, "one line that names it, for every kind of image")
def test_an_image_that_cannot_be_used_is_a_data_error_of_one_line_that_names_it(tmp_path, name):
    data, fault = BAD_IMAGES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=fault) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_image_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="a.png: no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="a folder"):
        read_image(tmp_path)


@pytest.mark.fault(22, "a truncated JPEG is never filled in")
def test_no_truncated_jpeg_is_read_wherever_it_was_cut(tmp_path):
    whole = encoded(Image.fromarray(NOISE), "JPEG")
    path = tmp_path / "a.jpg"
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="a.jpg"):
            read_image(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.fromarray(NOISE), "PNG")[:1000])  # cut, so that decoding would fail
    monkeypatch.setattr(png, "MOST_PIXELS", 767)
    with pytest.raises(DataError, match="bomb.png: over the limit of 767 pixels"):
        read_image(path)
    monkeypatch.setattr(png, "MOST_PIXELS", 768)
    with pytest.raises(DataError, match="bomb.png: damaged image"):
        read_image(path)


@pytest.mark.parametrize("side", [8_001, 10_000, 20_000])
@pytest.mark.filterwarnings("error")
@pytest.mark.fault(22, "a giant is refused before it is decoded")
def test_a_header_that_promises_a_giant_is_over_the_limit_whether_pillow_warns_or_raises(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(side, side, 8, 0, [b"\0"]))
    with pytest.raises(DataError, match="bomb.png: over the limit of 64,000,000 pixels"):
        read_image(path)


# labels


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)), st.booleans())
def test_what_is_written_is_read_again_with_or_without_a_palette(tmp_path_factory, label, palette):
    path = tmp_path_factory.mktemp("label") / "a.png"
    write_label(path, label, CITYSCAPES if palette else None)
    assert np.array_equal(read_label(path), label)


def test_a_written_palette_shows_the_colours_of_the_classes(tmp_path):
    write_label(tmp_path / "a.png", LABEL, CITYSCAPES)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.array(image.convert("RGB")), CITYSCAPES.colour_map(LABEL))


def test_only_maps_of_8_bit_indices_are_written(tmp_path):
    with pytest.raises(ValueError, match="int64"):
        write_label(tmp_path / "a.png", LABEL.astype(np.int64))
    with pytest.raises(ValueError, match="uint8"):
        write_label(tmp_path / "a.png", NOISE)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_older_label_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_label(path, LABEL)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(
        DeviceError, match=r"a\.png: cannot be written \(No space left on device\); free some disk space"
    ):
        write_label(path, LABEL + 1)
    assert np.array_equal(read_label(path), LABEL)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_label_of_any_depth_is_read_as_its_indices(tmp_path, bits):
    indices = LABEL & np.uint8(2**bits - 1)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette([200, 100, 50] * 256)  # all of one colour: only the indices tell the ids apart
    image.save(tmp_path / "a.png", bits=bits)
    assert (tmp_path / "a.png").read_bytes()[24:26] == bytes([bits, 3])
    assert np.array_equal(read_label(tmp_path / "a.png"), indices)


BAD_LABELS = {
    "truncated.png": (encoded(Image.fromarray(NOISE[..., 0]), "PNG")[:400], "damaged image"),
    "empty.png": (b"", "an empty file"),
    "gif.png": (encoded(Image.fromarray(LABEL), "GIF"), "not a PNG or JPEG file"),
    "jpeg.png": (encoded(Image.fromarray(LABEL), "JPEG"), "a label map in JPEG"),
    "rgb.png": (encoded(Image.fromarray(NOISE), "PNG"), "colour mode RGB"),
    "rgba.png": (encoded(Image.fromarray(NOISE).convert("RGBA"), "PNG"), "colour mode RGBA"),
    "grey_alpha.png": (encoded(Image.fromarray(NOISE).convert("LA"), "PNG"), "colour mode LA"),
    "grey16.png": (png_bytes(2, 2, 16, 0, [b"\0\2\0\4"] * 2), "16 bits a channel"),
    "rgb16.png": (png_bytes(1, 2, 16, 2, [b"\1\2\3\4\5\6"] * 2), "16 bits a channel"),
    "grey1.png": (png_bytes(8, 2, 1, 0, [b"\x55"] * 2), "1 bits a channel"),
    "grey2.png": (png_bytes(4, 2, 2, 0, [b"\x1b"] * 2), "2 bits a channel"),
    "grey4.png": (png_bytes(2, 2, 4, 0, [b"\x12"] * 2), "4 bits a channel"),
    "turned.png": (encoded(Image.fromarray(LABEL), "PNG", exif=turned(3)), "turned by an EXIF tag"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_label_that_cannot_be_used_is_a_data_error_of_one_line_that_names_it(tmp_path, name):
    data, fault = BAD_LABELS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=fault) as caught:
        read_label(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_label_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="a.png: no such file"):
        read_label(tmp_path / "a.png")


# grey channels


@pytest.mark.parametrize(("depth", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_a_grey_channel_is_read_with_the_values_and_the_depth_of_the_file(tmp_path, depth, kind):
    values = np.arange(2**depth, dtype=kind).reshape(16, -1)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_grey(tmp_path / "a.png", depth)
    assert found.dtype == kind
    assert np.array_equal(found, values)
    with pytest.raises(DataError, match=f"with {depth} bits a channel; expected a PNG of one grey channel with"):
        read_grey(tmp_path / "a.png", 24 - depth)


def test_a_written_image_is_read_again_pixel_by_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "image.png", pixels)
    assert np.array_equal(np.asarray(read_image(tmp_path / "image.png")), pixels)


def test_a_confidence_is_written_as_its_share_of_65535(tmp_path):
    write_confidence(tmp_path / "a.png", np.array([[0, 0.5, 1.0, 1 / 3, 1 + 1e-7]], dtype=np.float32))
    assert read_grey(tmp_path / "a.png", 16).tolist() == [[0, 32768, 65535, 21845, 65535]]


# SYNTHIA's labels


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_the_ids_of_a_16_bit_label_are_its_first_channel_and_not_its_high_bytes(tmp_path_factory, ids):
    path = label_16_bit(tmp_path_factory.mktemp("label") / "a.png", ids)
    assert np.array_equal(read_label(path, SYNTHIA), ids)


@pytest.mark.parametrize("filtering", range(5))
def test_a_16_bit_label_is_read_whatever_the_filter_of_its_lines(tmp_path, filtering):
    """A first line of ids 1 .. 8 and a second of 2 .. 9, written by each of PNG's five filters by the standard."""
    first, second = (np.zeros((8, 3), dtype=">u2") for _ in range(2))
    first[:, 0], second[:, 0] = np.arange(1, 9), np.arange(2, 10)
    lines = [np.frombuffer(line.tobytes(), np.uint8).astype(int) for line in (np.zeros((8, 3), ">u2"), first, second)]
    coded = b""
    for above, line in itertools.pairwise(lines):
        left, corner = (np.concatenate([np.zeros(6, int), part[:-6]]) for part in (line, above))
        guess = left + above - corner
        distances = np.abs(np.stack([guess - left, guess - above, guess - corner]))
        paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
        predicted = [0 * line, left, above, (left + above) // 2, paeth][filtering]
        coded += bytes([filtering]) + ((line - predicted) % 256).astype(np.uint8).tobytes()
    plain = png_bytes(8, 2, 16, 2, [b""])
    data = zlib.compress(coded)
    idat = plain.index(b"IDAT") - 4
    chunk = len(data).to_bytes(4, "big") + b"IDAT" + data + zlib.crc32(b"IDAT" + data).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(plain[:idat] + chunk + plain[plain.index(b"IEND") - 4 :])
    assert read_label(tmp_path / "a.png", SYNTHIA).tolist() == [list(range(1, 9)), list(range(2, 10))]


BAD_16_BIT_LABELS = {
    "grey.png": (encoded(Image.fromarray(LABEL), "PNG"), "not a label map of SYNTHIA"),
    "rgb8.png": (encoded(Image.fromarray(NOISE), "PNG"), "not a label map of SYNTHIA"),
    "grey16.png": (png_bytes(2, 2, 16, 0, [b"\0\2\0\4"] * 2), "not a label map of SYNTHIA"),
    "rgba16.png": (png_bytes(1, 2, 16, 6, [b"\0\2\0\0\0\0\0\0"] * 2), "not a label map of SYNTHIA"),
    "jpeg.png": (encoded(Image.fromarray(NOISE), "JPEG"), "not a label map of SYNTHIA"),
    "over.png": (png_bytes(1, 2, 16, 2, [b"\1\2\0\0\0\0"] * 2), "ids over 255"),
    "truncated.png": (png_bytes(64, 9, 16, 2, [b"\0\2\0\0\0\0" * 64] * 9)[:60], "damaged image"),
}


@pytest.mark.parametrize("name", BAD_16_BIT_LABELS)
def test_a_file_that_is_no_label_of_synthia_is_a_data_error_of_one_line_that_names_it(tmp_path, name):
    data, fault = BAD_16_BIT_LABELS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=fault) as caught:
        read_label(tmp_path / name, SYNTHIA)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
