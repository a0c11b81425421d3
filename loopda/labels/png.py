"""Reading and writing of images and label maps; no other module opens or writes those that stages read.

`loopda.labels.decoding` opens the files. This module decides which of them are images and label maps. What it refuses
is a DataError of one line, with the name of the file and the remedy.
"""

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loopda.config import expanded
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import COLOURS, SYNTHIA, UNKNOWN, ClassList
from loopda.labels.decoding import UPRIGHT, Decoded, check_size, decode, loaded
from loopda.runtime.files import written

Photograph = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
"""The types that `photograph` accepts."""


def read_image(path: Path) -> Image.Image:
    """Read a photograph as an upright RGB image of 8 bits a channel.

    Lossless conversions: grey and palette images become RGB; an alpha channel that is opaque everywhere is dropped;
    a camera's EXIF orientation is applied, as image viewers and annotation tools do.
    DataError where a conversion would be a guess: CMYK (it needs the ink profile), 16 bits a channel (they need a tone
    curve), transparent pixels. DataError also for files that are missing, truncated, in other formats or over
    `decoding.MOST_PIXELS`.
    """
    return read_upright(path).image


class Upright(NamedTuple):
    """image: as `read_image` returns it. orientation: the EXIF orientation of the file, 1 upright, 2 ... 8 turned or
    mirrored."""

    image: Image.Image
    orientation: int


def read_upright(path: Path) -> Upright:
    """`read_image` with the EXIF orientation of the file."""
    decoded = decode(path)
    return Upright(_upright_rgb(decoded, path), decoded.orientation if decoded.orientation in UPRIGHT else 1)


def photograph(image: Photograph) -> Image.Image:
    """An upright RGB image from a path, a PIL image or an array, with the conversions and DataErrors of `read_image`.

    An array is uint8: (H, W, 3) RGB (OpenCV reads BGR: reverse it by `[..., ::-1]`), (H, W, 4) with an opaque alpha
    channel, (H, W) or (H, W, 1) grey. A PIL image may come from any format that Pillow decodes; it is turned upright
    if it still has its EXIF orientation (`ImageOps.exif_transpose` turns an image and removes the orientation).
    """
    if isinstance(image, str | os.PathLike):
        try:
            return read_image(expanded(os.fsdecode(image)))
        except ConfigError as error:
            raise DataError(str(error)) from None
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "")) or "the PIL image"
        return _upright_rgb(loaded(image, name), name)
    if isinstance(image, np.ndarray):
        return _upright_rgb(Decoded(_image_of_array(image), 8, 1), "the array")
    kind = type(image)
    if kind.__module__.partition(".")[0] == "torch":
        raise DataError(
            "a tensor is no image; give an array (H, W, 3) of uint8, RGB: of a tensor (3, H, W) of 0 ... 255,"
            " `image.permute(1, 2, 0).to(torch.uint8).cpu().numpy()`"
        )
    if isinstance(image, bytes | bytearray | memoryview) or hasattr(image, "read"):
        raise DataError(f"{kind.__name__} is no image; open it first: PIL.Image.open of a file or of io.BytesIO(bytes)")
    if isinstance(image, list | tuple):
        raise DataError(f"a {kind.__name__} is no image; give one image at a time, of numbers as a NumPy array")
    raise DataError(f"{kind.__name__} is no image; give a path, a PIL image or an array (H, W, 3) of uint8")


class RawLabel(NamedTuple):
    """ids: (H, W) uint8, the values in the file. palette: (N, 3) uint8, the colour of each id, if it has one."""

    ids: NDArray[np.uint8]
    palette: NDArray[np.uint8] | None = None


def read_label(path: Path, encoding: str = "", classes: ClassList | None = None) -> np.ndarray:
    """Read a label map: (H, W) uint8 raw ids, the values in the file (`ClassList.lookup_table` maps them to classes).

    The file is a PNG with one channel: 8-bit grey, or a palette of any depth, whose indices are the ids. All else is
    a DataError: JPEG, RGB or RGBA (colours, not ids), 16 bits, grey of fewer than 8 bits (Pillow would stretch the ids
    over 0 .. 255), an EXIF orientation.
    Two encodings differ. SYNTHIA: only a PNG with three channels of 16 bits, the ids in the first. COLOURS: a PNG of 8
    bits a channel in RGB, with an opaque alpha channel, or with a palette, in the colours of `classes`; the result is
    class indices, IGNORE for a void colour, and other colours are a DataError.
    """
    return read_raw_label(path, encoding, classes).ids


def read_raw_label(path: Path, encoding: str = "", classes: ClassList | None = None) -> RawLabel:
    """`read_label` with the palette of the file."""
    if encoding == SYNTHIA:
        return RawLabel(_read_16_bit_label(path))
    if encoding == COLOURS:
        return RawLabel(_read_colours(path, classes))
    image, depth = _decoded_label(path)
    if image.mode not in ("L", "P", "1") and depth == 8:
        remedy = (
            "save one channel alone"
            if _is_grey(image)
            else "where its colours are those of the class list, `encoding: colours` (layout folder or table) reads"
            " them"
        )
        raise DataError(
            f"{path}: a label map in colour mode {image.mode}; expected one channel of class ids (8-bit grey"
            f" or palette), not a rendering in colours; {remedy}"
        )
    if image.mode != "P" and depth != 8:
        raise DataError(f"{path}: a label map with {_bits(depth)} a channel; save its ids as 8-bit grey")
    palette = None
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return RawLabel(np.array(image, dtype=np.uint8), palette)


def read_grey(path: Path | zipfile.Path, depth: int) -> np.ndarray:
    """Read a PNG of one grey channel with exactly `depth` bits: the (H, W) values in the file, uint8 or uint16.

    depth: 8 or 16. The file may be a member of a zip. All else is a DataError, palettes too.
    """
    image, found, _ = decode(path)
    if image.format != "PNG" or found != depth or image.mode != {8: "L", 16: "I;16"}[depth]:
        raise DataError(
            f"{path}: {image.format} in colour mode {image.mode} with {found} bits a channel; expected a PNG of one"
            f" grey channel with {depth}"
        )
    return np.array(image)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8 RGB as a PNG, atomically."""
    with written(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def write_confidence(path: Path, confidence: np.ndarray) -> None:
    """Write (H, W) float confidences in [0, 1] as a 16-bit grey PNG of 65535 * confidence, atomically."""
    image = Image.fromarray((confidence * 65535).round().astype(np.uint16))
    with written(path) as temporary:
        image.save(temporary, format="PNG")


def _read_16_bit_label(path: Path) -> np.ndarray:
    """The ids in the first of three channels of 16 bits; the other channels hold instances and are ignored."""
    image, depth, _ = decode(path)
    if image.format != "PNG" or image.mode != "RGB" or depth != 16:
        raise DataError(
            f"{path}: not a label map of SYNTHIA (a PNG with three channels of 16 bits, the class id in the"
            " first); fetch the file again and leave it as it is"
        )
    high = np.asarray(image)[..., 0]
    if high.any():
        raise DataError(f"{path}: the first channel holds ids over 255; fetch the label map of SYNTHIA again")
    return np.array(decode(path, low_bytes=True).image)[..., 0]


def write_label(path: Path, label: np.ndarray, classes: ClassList | None = None) -> None:
    """Write (H, W) uint8 class indices (IGNORE = 255) as an 8-bit PNG, atomically.

    With `classes` the PNG carries their colours as a palette; its pixels are the same indices.
    """
    if label.dtype != np.uint8 or label.ndim != 2:
        raise ValueError(f"a label map is (H, W) uint8, not {label.shape} {label.dtype}")
    image = Image.fromarray(label)
    if classes is not None:
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(classes.palette().tobytes())
    with written(path) as temporary:
        image.save(temporary, format="PNG", bits=8)


def _decoded_label(path: Path) -> tuple[Image.Image, int]:
    """A label map in the mode of its file, and its bits a channel; DataError where it is no upright PNG."""
    image, depth, orientation = decode(path)
    if image.format != "PNG":
        raise DataError(f"{path}: a label map in {image.format}, which blurs ids at edges; labels must be PNG files")
    if orientation in UPRIGHT:
        raise DataError(f"{path}: a label map turned by an EXIF tag; save it upright, without the tag")
    return image, depth


def _read_colours(path: Path, classes: ClassList) -> NDArray[np.uint8]:
    image, depth = _decoded_label(path)
    if image.mode in ("L", "1", "LA", "I;16", "I"):
        raise DataError(
            f"{path}: a label map of numbers, in grey, but `encoding: colours` reads colours; name the encoding of"
            " its numbers"
        )
    if depth > 8:
        raise DataError(f"{path}: a label map with {depth} bits a channel; save its colours with 8 bits a channel")
    rgb = np.asarray(_opaque(image, path).convert("RGB")).astype(np.uint32)
    codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    label = classes.colour_table()[codes]
    unknown = label == UNKNOWN
    if unknown.any():
        row, column = np.argwhere(unknown)[0].tolist()
        count, kinds = int(unknown.sum()), len(np.unique(codes[unknown]))
        raise DataError(
            f"{path}: {count} pixels ({unknown.mean():.2%}) have {kinds} colours that are neither a class's nor void,"
            f" such as {rgb[row, column].tolist()} at column {column}, row {row}; correct the map, or the colours of"
            " the class list (`colour`, `void_colours`); colours along edges come from smoothing: export the map"
            " without it, resize it by nearest neighbour"
        )
    return label


def _bits(depth: int) -> str:
    return "1 bit" if depth == 1 else f"{depth} bits"


def _is_grey(image: Image.Image) -> bool:
    rgb = np.asarray(image.convert("RGB"))
    return bool((rgb[..., :1] == rgb).all())


def _upright_rgb(decoded: Decoded, name: Path | str) -> Image.Image:
    """The conversions and DataErrors of `read_image`. name: how messages call the image.

    The result has no metadata, so that no caller applies the EXIF orientation a second time.
    """
    image, depth, orientation = decoded
    if depth > 8:
        raise DataError(
            f"{name}: an image with {depth} bits a channel; save it with 8 bits a channel (scale its values to"
            " 0 ... 255: Pillow's `convert` only cuts them off)"
        )
    if image.mode not in ("RGB", "L", "1", "P", "RGBA", "LA", "PA"):
        raise DataError(f"{name}: an image in colour mode {image.mode}; convert it to RGB and save it again")
    image = _opaque(image, name).convert("RGB")
    image = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    image.info.clear()
    return image


def _opaque(image: Image.Image, name: Path | str) -> Image.Image:
    """`image`; DataError where it has a transparent pixel."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        least_alpha, _ = image.getchannel("A").getextrema()
        if least_alpha < 255:
            raise DataError(f"{name}: an image with transparent pixels; save it without an alpha channel")
    return image


def _image_of_array(array: np.ndarray) -> Image.Image:
    """The array as a PIL image; DataError with the remedy where `photograph` does not accept it."""
    what = f"an array {array.shape} of {array.dtype}"
    if array.ndim == 4:
        raise DataError(f"{what}: give one image at a time")
    channels_first = array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4)
    if channels_first:
        raise DataError(f"{what}: the channels must come last, (H, W, 3); use `image.transpose(1, 2, 0)`")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise DataError(f"{what}: an image is (H, W, 3) uint8, RGB, or (H, W) uint8, grey")
    if array.size == 0:
        raise DataError(f"{what}: an image without pixels")
    if array.dtype != np.uint8:
        raise DataError(f"{what}: an image is (H, W, 3) uint8 of 0 ... 255; {_to_bytes(array)}")
    if np.ma.is_masked(array):
        raise DataError(f"{what}: some of its pixels are masked; fill them first")
    check_size(array.shape[1], array.shape[0], "the array")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def _to_bytes(array: np.ndarray) -> str:
    """The advice how to convert an array of another type to uint8."""
    if array.dtype == bool:
        return "use `255 * image.astype(numpy.uint8)`"
    if array.dtype.kind not in "iuf":
        return "it holds no real numbers"
    if not np.isfinite(array).all():
        return "it holds values that are not finite (NaN or infinite)"
    least, most = array.min(), array.max()
    if least < 0:
        return f"its values go from {least:.4g} to {most:.4g}: undo the normalisation that made them first"
    if array.dtype.kind == "f" and most <= 1:
        return "its values are 0 ... 1: use `(255 * image).round().astype(numpy.uint8)`"
    if most <= 255:
        return f"use `image.{'round().' if array.dtype.kind == 'f' else ''}astype(numpy.uint8)`"
    return f"its values go up to {most:.6g}: scale them to 0 ... 255 first"
