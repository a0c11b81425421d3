"""How an image file becomes pixels: two formats, a limit of pixels, decoding to the last byte, and EXIF orientation.

Every file is decoded completely, because a truncated JPEG passes all checks short of that. The format is found in the
content, not in the name: PNG or JPEG. A file that cannot be used is a DataError of one line with its name and the
remedy; no missing pixel is filled in. (One fault escapes: a file that was closed properly around too few rows. The
decoders accept it as whole, and no truncation produces it.)
"""

import errno
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile, PngImagePlugin

from loopda.errors import DataError
from loopda.runtime.file_kinds import HEAD, kind_of, remedy_for
from loopda.runtime.files import retried

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 64_000_000
"""Larger images are refused before they are decoded. An image of Cityscapes has 2 million pixels."""

MOST_TEXT = 64 * 2**20
"""The limit in bytes for a text or a colour profile in a PNG, and for all texts of one file, after decompression: they
are decoded before the pixels. Renderers and photo editors write several million; Pillow's own limit is one million."""

# The errors that Pillow's decoders raise for damaged bytes.
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
# EXIF orientation -> the operation that turns the stored pixels upright (EXIF 2.32, tag 274); 1 is upright already.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """A decoded file.

    image: all its pixels, still in the mode of the file. depth: bits a channel in the file, which Pillow's mode does
    not show. orientation: the EXIF orientation, 1 = upright.
    """

    image: Image.Image
    depth: int
    orientation: int


def decode(path: Path | zipfile.Path, *, low_bytes: bool = False) -> Decoded:
    """Decode every pixel of the PNG or JPEG file `path`; DataError where that fails.

    low_bytes: of an image with 16 bits a channel in RGB, the low byte of each channel; without it, the high byte.
    """
    try:
        return retried(lambda: _decoded(path, low_bytes))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path) from None
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _decoded(path: Path | zipfile.Path, low_bytes: bool) -> Decoded:
    with path.open("rb") as file, _our_pillow():
        head = file.read(HEAD)
        if not head:
            raise DataError(f"{path}: an empty file; fetch it again")
        file.seek(0)
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.UnidentifiedImageError:
            raise _of_another_kind(path, head) from None
        with image:
            width, height = image.size
            check_size(width, height, path)
            if low_bytes:
                # Pillow has no mode for 16-bit RGB: it decodes PNG's big-endian samples as "RGB;16B", which
                # silently keeps the high bytes. Decoded as little-endian, the high bytes are the low ones.
                image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
            image.load()
    # Pillow gives 16-bit RGB as 8-bit RGB, and stretches grey of 2 bits to 0, 85, 170, 255. The true depth is byte 24
    # of a PNG, in its first chunk. A JPEG that Pillow reads has 8 bits.
    depth = head[24] if image.format == "PNG" else 8
    return Decoded(image, depth, _orientation(image))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation. Damaged EXIF data count as upright, as in image viewers."""
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1


def loaded(image: Image.Image, name: str) -> Decoded:
    """A PIL image that a caller opened, with its pixels; they are decoded here if that was not done before.

    name: how messages call the image. DataError where its file was closed too early, or it is too large or damaged.
    """
    width, height = image.size
    if width * height == 0:
        raise DataError(f"{name}: an image without pixels ({width}x{height})")
    check_size(width, height, name)
    closed = DataError(f"{name}: closed before its pixels were read; use it inside its `with` block")
    if getattr(image, "tile", None) and getattr(image, "fp", None) is None:
        raise closed
    try:
        depth = _depth(image)
        with _our_pillow():
            image.load()
        return Decoded(image.copy(), depth, _orientation(image))
    except _DAMAGE as error:
        raise (closed if "closed" in str(error) else _unreadable(name, error)) from None


def _depth(image: Image.Image) -> int:
    """Bits a channel of a PIL image, or of its file: of 16 bits Pillow may keep only the high 8."""
    by_mode = {"I": 32, "F": 32}
    if image.mode.startswith("I;16") or image.mode in by_mode:
        return by_mode.get(image.mode, 16)
    if any(";16" in str(tile.args) for tile in getattr(image, "tile", ())):  # not decoded yet
        return 16
    if tags := getattr(image, "tag_v2", None):  # TIFF: BitsPerSample
        return max(tags.get(258, (8,)))
    filename = getattr(image, "filename", "")
    if isinstance(image, PngImagePlugin.PngImageFile) and filename and Path(filename).is_file():
        with open(filename, "rb") as file:
            return file.read(25)[24]
    return 8


_pillow_lock = threading.Lock()
_pillow_users = 0
_pillow_before: tuple[int, int, bool] = (0, 0, False)


@contextmanager
def _our_pillow() -> Iterator[None]:
    """In this block Pillow accepts texts and colour profiles up to MOST_TEXT, and refuses truncated files.

    Pillow keeps these settings in module variables, which a user of this package may have set. They are restored when
    the last thread leaves the block.
    """
    global _pillow_users, _pillow_before
    with _pillow_lock:
        if _pillow_users == 0:
            _pillow_before = _pillow_settings()
            text, memory, _ = _pillow_before
            _set_pillow(max(MOST_TEXT, text), max(MOST_TEXT, memory), False)
        _pillow_users += 1
    try:
        yield
    finally:
        with _pillow_lock:
            _pillow_users -= 1
            if _pillow_users == 0:
                _set_pillow(*_pillow_before)


def _pillow_settings() -> tuple[int, int, bool]:
    return PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, ImageFile.LOAD_TRUNCATED_IMAGES


def _set_pillow(text: int, memory: int, truncated: bool) -> None:
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = text, memory
    ImageFile.LOAD_TRUNCATED_IMAGES = truncated


def check_size(width: int, height: int, name: Path | zipfile.Path | str) -> None:
    """DataError where an image of this size is over the limit of MOST_PIXELS."""
    if width * height > MOST_PIXELS:
        raise _too_large(name)


def _too_large(path: Path | zipfile.Path | str) -> DataError:
    return DataError(f"{path}: over the limit of {MOST_PIXELS:,} pixels; scale it down")


def _of_another_kind(path: Path | zipfile.Path, head: bytes) -> DataError:
    """The error for a file that Pillow recognises as neither PNG nor JPEG. head: its first bytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return DataError(
            f"{path}: damaged image (a PNG whose first chunks are missing or fail their checksum); fetch it again"
        )
    if head.startswith(b"\xff\xd8\xff"):
        return DataError(
            f"{path}: a damaged JPEG file, or one of a kind that is not read (12 bits, lossless); fetch it again, or"
            " convert it to PNG with 8 bits a channel"
        )
    if kind := kind_of(head):
        return DataError(
            f"{path}: not a PNG or JPEG file, whatever its name, but {kind.name}; {remedy_for(kind, path)}"
        )
    return DataError(f"{path}: not a PNG or JPEG file that can be read, whatever its name; fetch it again")


def _unreadable(path: Path | zipfile.Path | str, error: Exception) -> DataError:
    match error:
        case FileNotFoundError():
            return DataError(f"{path}: no such file; fetch it, or correct its name")
        case IsADirectoryError():
            return DataError(f"{path}: a folder, not an image file")
        case PermissionError():
            return DataError(f"{path}: no permission to read it")
        case OSError(errno=errno.ELOOP):
            return DataError(f"{path}: a link that leads back to itself; link it to the file")
        case OSError(errno=int(), strerror=str(reason)):
            return DataError(f"{path}: cannot be read ({reason}); correct that, or fetch it again")
    reason = " ".join(str(error).split()) or type(error).__name__
    if "MAX_TEXT" in reason:
        return DataError(
            f"{path}: over {MOST_TEXT // 2**20} MiB of texts or of a colour profile beside its pixels; save it without"
            " them"
        )
    return DataError(f"{path}: damaged image ({reason}); fetch it again")
