"""The one module that opens images and label maps, and writes those that stages read.

What is opened is decoded to its last byte (a truncated JPEG passes everything short of that), in one of two
formats whatever the name of the file says, and within a limit of pixels. A file that cannot be used is a
DataError of one line that names it and the remedy; nothing is filled in. (One thing escapes: a file that was
closed properly around too few rows, as no truncation makes it. The decoders themselves take that for whole.)
"""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from loopda.errors import DataError
from loopda.files import patiently, written
from loopda.labels.classes import SYNTHIA, ClassList

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded. Cityscapes has 2 million pixels a picture."""

# What damaged bytes surface as in Pillow's decoders.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, tag 274); 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path) -> Image.Image:
    """Read a photograph as an upright RGB image of 8 bits a channel.

    Converted, because nothing is lost: grey and palette images (to RGB), an alpha channel that is opaque
    everywhere (dropped), a camera's EXIF orientation (the pixels are turned upright, as viewers and
    annotation tools show them). Refused with a DataError, because converting would guess: CMYK (needs the ink
    profile), 16 bits a channel (needs a tone curve), a picture with transparent pixels; also missing,
    truncated, other formats, over MOST_PIXELS.
    """
    image, depth, orientation = _decode(path)
    if depth > 8:
        raise DataError(f"{path}: an image with {depth} bits a channel; save it with 8 bits a channel")
    if image.mode not in ("RGB", "L", "1", "P", "RGBA", "LA", "PA"):
        raise DataError(f"{path}: an image in colour mode {image.mode}; convert it to RGB and save it again")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        least_alpha, _ = image.getchannel("A").getextrema()
        if least_alpha < 255:
            raise DataError(f"{path}: an image with transparent pixels; save it without an alpha channel")
    image = image.convert("RGB")
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def read_label(path: Path, encoding: str = "") -> np.ndarray:
    """Read a label map: (H, W) uint8 raw ids, as they stand in the file (a ClassList turns them into
    indices).

    A PNG with one channel: 8-bit grey, or a palette of any depth, whose indices are the ids (its colours are
    not looked at). Everything else is a DataError: JPEG, RGB or RGBA (a colour rendering, not ids), 16 bits,
    grey of fewer than 8 bits (Pillow would stretch the ids over 0 .. 255), a map turned by EXIF. Where
    `encoding` is SYNTHIA, a PNG with three channels of 16 bits, of which the first holds the ids, and no other.
    """
    if encoding == SYNTHIA:
        return _read_16_bit_label(path)
    image, depth, orientation = _decode(path)
    if image.format != "PNG":
        raise DataError(f"{path}: a label map in {image.format}, which blurs ids at edges; labels must be PNG files")
    if image.mode not in ("L", "P", "1") and depth == 8:
        raise DataError(
            f"{path}: a label map in colour mode {image.mode}; expected one channel of class ids (8-bit grey"
            " or palette), not a rendering in colours"
        )
    if image.mode != "P" and depth != 8:
        raise DataError(f"{path}: a label map with {depth} bits a channel; save its ids as 8-bit grey")
    if orientation in _UPRIGHT:
        raise DataError(f"{path}: a label map turned by an EXIF tag; save it upright, without the tag")
    return np.array(image, dtype=np.uint8)


def read_grey(path: Path | zipfile.Path, depth: int) -> np.ndarray:
    """Read a PNG of one grey channel with exactly `depth` bits, 8 (uint8) or 16 (uint16): (H, W) values as they stand
    in the file, which may be a member of a zip. Everything else is a DataError, palettes too."""
    image, found, _ = _decode(path)
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
    """The ids in the first of three channels of 16 bits; the others hold instances and are not looked at."""
    image, depth, _ = _decode(path)
    if image.format != "PNG" or image.mode != "RGB" or depth != 16:
        raise DataError(
            f"{path}: not a label map of SYNTHIA (a PNG with three channels of 16 bits, the class id in the"
            " first); fetch the file again and leave it as it is"
        )
    high = np.asarray(image)[..., 0]
    if high.any():
        raise DataError(f"{path}: the first channel holds ids over 255; fetch the label map of SYNTHIA again")
    return np.array(_decode(path, low_bytes=True).image)[..., 0]


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


class _Decoded(NamedTuple):
    image: Image.Image  # every pixel read, still in the mode of the file
    depth: int  # bits a channel in the file, which Pillow's mode hides
    orientation: int  # EXIF, 1 = upright


def _decode(path: Path | zipfile.Path, *, low_bytes: bool = False) -> _Decoded:
    """Every pixel of `path`. low_bytes: of 16-bit RGB the low byte of each channel, where Pillow gives the high."""
    try:
        return patiently(lambda: _decoded(path, low_bytes))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path) from None
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _decoded(path: Path | zipfile.Path, low_bytes: bool) -> _Decoded:
    with path.open("rb") as file:
        head = file.read(25)
        if not head:
            raise DataError(f"{path}: an empty file; fetch it again")
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise _too_large(path)
            if low_bytes:
                # Pillow has no mode for 16-bit RGB: it decodes PNG's big-endian samples as "RGB;16B", which
                # keeps their high bytes without a word. Taken for little-endian, the low ones are the high.
                image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
            image.load()
    # 16-bit RGB comes out as 8-bit RGB, and grey of 2 bits is stretched to 0, 85, 170, 255: byte 24, in the
    # first chunk of every PNG, tells. The JPEG that Pillow reads has 8 bits.
    depth = head[24] if image.format == "PNG" else 8
    return _Decoded(image, depth, _orientation(image))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; EXIF data that cannot be read turn the picture in no viewer, and none here."""
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1


def _too_large(path: Path | zipfile.Path) -> DataError:
    return DataError(f"{path}: over the limit of {MOST_PIXELS:,} pixels; scale it down")


def _unreadable(path: Path | zipfile.Path, error: Exception) -> DataError:
    match error:
        case FileNotFoundError():
            return DataError(f"{path}: no such file; fetch it, or correct its name")
        case IsADirectoryError():
            return DataError(f"{path}: a folder, not an image file")
        case PermissionError():
            return DataError(f"{path}: no permission to read it")
        case Image.UnidentifiedImageError():
            return DataError(f"{path}: not a PNG or JPEG file that can be read, whatever its name; fetch it again")
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: damaged image ({reason}); fetch it again")
