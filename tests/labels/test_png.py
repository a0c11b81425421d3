import io
import itertools
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFile, ImageOps, PngImagePlugin
from public_trees import label_16_bit, png_bytes

from loopda.errors import DataError, DeviceError
from loopda.labels import decoding
from loopda.labels.classes import CITYSCAPES, COLOURS, IGNORE, SYNTHIA
from loopda.labels.png import (
    photograph,
    read_grey,
    read_image,
    read_label,
    read_raw_label,
    read_upright,
    write_confidence,
    write_image,
    write_label,
)

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


# a text after the header (33 bytes) whose checksum is wrong
_PNG = encoded(Image.fromarray(NOISE), "PNG")
WRONG_CHECKSUM = _PNG[:33] + b"\0\0\0\3tEXta\0b" + bytes(4) + _PNG[33:]

BAD_IMAGES = {
    "checksum.png": (WRONG_CHECKSUM, "damaged image .*first chunks are missing or fail their checksum"),
    "truncated.png": (encoded(Image.fromarray(NOISE), "PNG")[:1000], "damaged image"),
    "truncated.jpg": (encoded(Image.fromarray(NOISE), "JPEG")[:-20], "damaged image"),
    "empty.png": (b"", "an empty file"),
    "text.png": (b"404: not found", "not a PNG or JPEG file"),
    "gif.png": (encoded(Image.fromarray(NOISE).quantize(8), "GIF"), "a GIF picture; convert it to PNG"),
    "tiff.jpg": (encoded(Image.fromarray(NOISE), "TIFF"), "a TIFF picture .*; convert it to PNG"),
    "webp.jpg": (encoded(Image.fromarray(NOISE), "WEBP"), "a WebP picture; convert it to PNG"),
    "bmp.png": (encoded(Image.fromarray(NOISE), "BMP"), "a BMP picture; convert it to PNG"),
    "page.jpg": (b"<!doctype html><title>Log in</title>", r"a web page \(HTML\).*; fetch the file itself again"),
    "lfs.png": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*; run `git lfs pull`"),
    "headless.png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged image"),
    "damaged.jpg": (b"\xff\xd8\xff\xe0" + bytes(40), "a damaged JPEG file, or one of a kind that is not read"),
    "cmyk.jpg": (encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"), "colour mode CMYK"),
    "grey16.png": (png_bytes(2, 2, 16, 0, [b"\1\2\3\4"] * 2), "16 bits a channel"),
    "rgb16.png": (png_bytes(1, 2, 16, 2, [b"\1\2\3\4\5\6"] * 2), "16 bits a channel"),
    "alpha.png": (encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 128)), "PNG"), "transparent pixels"),
    "keyed.png": (encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7), "transparent pixels"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.fault(22, "one line that names it, for every kind of image")
@pytest.mark.fault(70, "one line that names it, what it is, and what to do")
def test_an_image_that_cannot_be_used_is_a_data_error_of_one_line_that_names_it(tmp_path, name):
    data, fault = BAD_IMAGES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=fault) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_image_and_a_folder_have_different_messages(tmp_path):
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
    monkeypatch.setattr(decoding, "MOST_PIXELS", 767)
    with pytest.raises(DataError, match="bomb.png: over the limit of 767 pixels"):
        read_image(path)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 768)
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


# much text


def with_text(kind, size):
    """A PNG with a text or a colour profile of `size` bytes, which compresses to almost nothing."""
    texts = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        texts.add_itxt("history", "x" * size, zip=True)
    elif kind == "zTXt":
        texts.add_text("history", "x" * size, zip=True)
    elif kind == "tEXt":
        texts.add_text("history", "x" * size)
    options = {"icc_profile": b"x" * size} if kind == "iCCP" else {"pnginfo": texts}
    return encoded(Image.fromarray(NOISE), "PNG", **options)


def text_behind_the_pixels(size):
    """With the chunk of text behind those of the pixels, where the standard allows it too."""
    whole, plain = with_text("zTXt", size), encoded(Image.fromarray(NOISE), "PNG")
    at = whole.index(b"zTXt") - 4
    chunk = whole[at : whole.index(b"IDAT") - 4]
    return plain[: plain.index(b"IEND") - 4] + chunk + plain[plain.index(b"IEND") - 4 :]


@pytest.mark.parametrize("kind", ["iTXt", "zTXt", "tEXt", "iCCP", "behind"])
@pytest.mark.fault(69, "its pixels are read, whichever chunk holds the text")
def test_a_png_with_millions_of_bytes_of_text_is_read_as_any_other(tmp_path, kind):
    data = text_behind_the_pixels(3_000_000) if kind == "behind" else with_text(kind, 3_000_000)
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), NOISE)


@pytest.mark.parametrize("kind", ["zTXt", "iCCP"])
@pytest.mark.fault(69, "a text that unpacks to more than a limit is refused before it is unpacked")
def test_a_text_over_the_limit_is_refused_by_its_name_and_not_called_damage(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_TEXT", 2 * 2**20)
    (tmp_path / "a.png").write_bytes(with_text(kind, 3_000_000))
    with pytest.raises(DataError, match="a.png: over 2 MiB of texts or of a colour profile.*; save it without them"):
        read_image(tmp_path / "a.png")


def test_the_limits_of_pillow_are_its_own_again_whatever_was_read_and_by_how_many_threads(tmp_path):
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    good.write_bytes(with_text("zTXt", 3_000_000))
    bad.write_bytes(good.read_bytes()[:200])

    def read(path):
        try:
            return read_image(path).size
        except DataError:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, [good, bad] * 20)) == [(32, 24), None] * 20
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_no_truncated_file_is_filled_in_where_the_process_has_set_pillow_to_do_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(NOISE), "JPEG")[:-200])
    with pytest.raises(DataError, match="a.jpg: damaged image"):
        read_image(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image, pytest.raises(DataError, match="a.jpg: damaged image"):
        photograph(image)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_jpeg_of_several_pictures_or_with_a_large_profile_is_read(tmp_path):
    second = Image.fromarray(NOISE[::-1])
    Image.fromarray(NOISE).save(tmp_path / "several.jpg", "MPO", save_all=True, append_images=[second], quality=100)
    Image.fromarray(NOISE).save(tmp_path / "profile.jpg", icc_profile=b"x" * 3_000_000, quality=100)
    for name in ("several.jpg", "profile.jpg"):
        with Image.open(tmp_path / name) as image:
            assert np.array_equal(np.asarray(read_image(tmp_path / name)), np.asarray(image))


# photographs that are no files


def files(folder):
    """Files of every kind that the tests above read, or refuse, but for those that Pillow cannot open."""
    kinds = {
        "rgb.png": encoded(Image.fromarray(NOISE), "PNG"),
        "grey.png": encoded(Image.fromarray(NOISE[..., 0]), "PNG"),
        "palette.png": encoded(Image.fromarray(NOISE).quantize(16), "PNG"),
        "opaque.png": encoded(Image.fromarray(NOISE).convert("RGBA"), "PNG"),
        "turned.jpg": encoded(Image.fromarray(NOISE), "JPEG", exif=turned(6)),
        "grey_alpha.png": encoded(Image.fromarray(NOISE[..., 0]).convert("LA"), "PNG"),
        "bits.png": encoded(Image.fromarray(NOISE[..., 0] > 99), "PNG"),
    }
    refused = ("cmyk.jpg", "grey16.png", "rgb16.png", "alpha.png", "keyed.png", "truncated.png", "truncated.jpg")
    for name, data in (kinds | {name: BAD_IMAGES[name][0] for name in refused}).items():
        (folder / name).write_bytes(data)
        yield folder / name


def of_file(path):
    try:
        return np.asarray(read_image(path)).tolist()
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.fault(68, "a PIL image is converted, or refused, as its file is")
def test_a_pil_image_is_converted_or_refused_as_its_file_is(tmp_path, loaded):
    for path in files(tmp_path):
        with Image.open(path) as image:
            try:
                if loaded:
                    image.load()
                found = np.asarray(photograph(image)).tolist()
            except DataError as error:
                found = str(error)
            except OSError:
                assert loaded  # Pillow itself said so
                continue
        assert found == of_file(path), path.name


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.fault(68, "a mode that cannot be converted without a guess is refused")
def test_a_pil_image_in_another_mode_is_refused_and_not_cut_off_to_white(mode):
    with pytest.raises(DataError, match="the PIL image: an image (with (16|32) bits a channel|in colour mode)"):
        photograph(Image.new(mode, (4, 4)))


def test_what_was_turned_upright_once_is_not_turned_again(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.png", exif=turned(6))
    once = read_image(tmp_path / "a.png")
    assert np.array_equal(np.asarray(photograph(once)), np.asarray(once))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(photograph(ImageOps.exif_transpose(image))), np.asarray(once))


def test_an_image_that_was_closed_unread_or_has_no_pixels_is_refused(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(DataError, match="a.png: closed before its pixels were read"):
        photograph(image)
    read = Image.fromarray(NOISE)
    read.close()
    with pytest.raises(DataError, match="the PIL image: closed before its pixels were read"):
        photograph(read)
    with pytest.raises(DataError, match="without pixels"):
        photograph(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize(
    "array",
    [NOISE, NOISE[..., 0], NOISE[..., :1], NOISE[::-1, ::2], np.dstack([NOISE, np.full((24, 32), 255, np.uint8)])],
)
def test_an_array_of_bytes_is_the_image_it_shows(array):
    expected = array if array.ndim == 3 else array[..., None]
    expected = np.broadcast_to(expected[..., : 1 if expected.shape[2] == 1 else 3], (*expected.shape[:2], 3))
    assert np.array_equal(np.asarray(photograph(array)), expected)


BAD_ARRAYS = {
    "0 ... 1": (NOISE / np.float32(255), r"\(255 \* image\).round\(\)"),
    "0 ... 255 as float": (NOISE.astype(np.float64), r"`image.round\(\).astype"),
    "normalised": (NOISE / 127.5 - 1, "undo the normalisation"),
    "negative": (NOISE.astype(np.int16) - 9, "values go from -9"),
    "NaN": (np.full((4, 4, 3), np.nan), "not finite"),
    "16 bits": (NOISE.astype(np.uint16) * 257, "go up to 65535: scale them to 0 ... 255"),
    "int64": (NOISE.astype(np.int64), r"`image.astype\(numpy.uint8\)`"),
    "bool": (NOISE > 99, "use `255"),
    "text": (np.full((4, 4, 3), "a"), "no real numbers"),
    "channels first": (NOISE.transpose(2, 0, 1), r"image.transpose\(1, 2, 0\)"),
    "batch": (NOISE[None], "one image at a time"),
    "two channels": (NOISE[..., :2], "an image is"),
    "one dimension": (NOISE.ravel(), "an image is"),
    "empty": (NOISE[:0], "without pixels"),
    "transparent": (np.zeros((4, 4, 4), np.uint8), "transparent pixels"),
    "masked": (np.ma.masked_less(NOISE, 9), "masked"),
    "list": ([NOISE, NOISE], "one image at a time"),
    "bytes": (b"\x89PNG", "open it first"),
    "file": (io.BytesIO(), "open it first"),
    "address": ("https://somewhere/a.png", "an address, not a path; download the file first"),
    "None": (None, "NoneType is no image; give a path"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
@pytest.mark.fault(68, "an array of other numbers or another shape is refused with the way to make it one")
def test_what_is_no_image_is_refused_with_the_remedy(name):
    image, remedy = BAD_ARRAYS[name]
    with pytest.raises(DataError, match=remedy):
        photograph(image)


def test_a_tensor_is_refused_with_the_way_to_make_it_an_array():
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match=r"a tensor is no image.*permute\(1, 2, 0\)"):
        photograph(torch.zeros(3, 4, 4))


def test_arrays_and_pil_images_have_the_limit_of_pixels_of_files(monkeypatch):
    monkeypatch.setattr(decoding, "MOST_PIXELS", 767)
    for image in (NOISE, Image.fromarray(NOISE)):
        with pytest.raises(DataError, match="over the limit of 767 pixels"):
            photograph(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_file_is_returned_with_the_image(tmp_path, orientation):
    Image.fromarray(NOISE).save(tmp_path / "a.png", exif=turned(orientation))
    assert read_upright(tmp_path / "a.png").orientation == orientation


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
    "gif.png": (encoded(Image.fromarray(LABEL), "GIF"), "a GIF picture; convert it to PNG"),
    "webp.png": (encoded(Image.fromarray(LABEL), "WEBP", lossless=True), "a WebP picture; convert it to PNG"),
    "bmp.png": (encoded(Image.fromarray(LABEL), "BMP"), "a BMP picture; convert it to PNG"),
    "grey_as_rgb.png": (encoded(Image.fromarray(LABEL).convert("RGB"), "PNG"), "save one channel alone"),
    "jpeg.png": (encoded(Image.fromarray(LABEL), "JPEG"), "a label map in JPEG"),
    "rgb.png": (encoded(Image.fromarray(NOISE), "PNG"), "colour mode RGB.*`encoding: colours` .* reads them"),
    "rgba.png": (encoded(Image.fromarray(NOISE).convert("RGBA"), "PNG"), "colour mode RGBA"),
    "grey_alpha.png": (encoded(Image.fromarray(NOISE).convert("LA"), "PNG"), "colour mode LA"),
    "grey16.png": (png_bytes(2, 2, 16, 0, [b"\0\2\0\4"] * 2), "16 bits a channel"),
    "rgb16.png": (png_bytes(1, 2, 16, 2, [b"\1\2\3\4\5\6"] * 2), "16 bits a channel"),
    "grey1.png": (png_bytes(8, 2, 1, 0, [b"\x55"] * 2), "1 bit a channel"),
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


# labels in colours


def saved(path, image):
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.fault(67, "where the user asks for it, colours are read, in whatever order a palette has them")
def test_a_label_in_colours_is_read_as_the_classes_that_have_them(tmp_path, mode):
    label = LABEL.copy()
    label[0, :5] = IGNORE  # black
    image = Image.fromarray(CITYSCAPES.colour_map(label))
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    assert np.array_equal(read_label(saved(tmp_path / "a.png", image), COLOURS, CITYSCAPES), label)


def test_the_colours_of_classes_that_are_left_out_are_void(tmp_path):
    some = CITYSCAPES.subset(["car", "road"])
    path = saved(tmp_path / "a.png", Image.fromarray(CITYSCAPES.colour_map(LABEL)))
    expected = np.full_like(LABEL, IGNORE)
    expected[LABEL == 13], expected[LABEL == 0] = 0, 1
    assert np.array_equal(read_label(path, COLOURS, some), expected)


@pytest.mark.fault(67, "a colour that no class has is named with its place and how often it occurs")
def test_a_colour_that_no_class_has_is_a_fault_with_its_place_and_count(tmp_path):
    rgb = CITYSCAPES.colour_map(LABEL)
    rgb[2, 3], rgb[4, 5] = (1, 2, 3), (3, 2, 1)
    path = saved(tmp_path / "a.png", Image.fromarray(rgb))
    with pytest.raises(DataError, match=r"a.png: 2 pixels \(0.26%\) have 2 colours .*\[1, 2, 3\] at column 3, row 2"):
        read_label(path, COLOURS, CITYSCAPES)


BAD_COLOURS = {
    "grey.png": (encoded(Image.fromarray(LABEL), "PNG"), "a label map of numbers.*; name the encoding"),
    "rgb16.png": (png_bytes(1, 2, 16, 2, [b"\1\2\3\4\5\6"] * 2), "16 bits a channel"),
    "clear.png": (encoded(Image.new("RGBA", (4, 4)), "PNG"), "transparent pixels"),
    "jpeg.png": (encoded(Image.fromarray(NOISE), "JPEG"), "a label map in JPEG"),
    "turned.png": (encoded(Image.fromarray(NOISE), "PNG", exif=turned(3)), "turned by an EXIF tag"),
}


@pytest.mark.parametrize("name", BAD_COLOURS)
def test_a_file_that_shows_no_colours_of_classes_is_refused(tmp_path, name):
    data, fault = BAD_COLOURS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=fault):
        read_label(tmp_path / name, COLOURS, CITYSCAPES)


def test_the_palette_of_a_label_comes_with_its_numbers(tmp_path):
    write_label(tmp_path / "a.png", LABEL, CITYSCAPES)
    ids, palette = read_raw_label(tmp_path / "a.png")
    assert np.array_equal(palette[ids], CITYSCAPES.colour_map(LABEL))
    write_label(tmp_path / "a.png", LABEL)
    assert read_raw_label(tmp_path / "a.png").palette is None


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
