"""The one module that opens images and label maps, and writes those that stages read.

What is opened is decoded to its last byte (a truncated JPEG passes everything short of that), in one of two
formats whatever the name of the file says, and within a limit of pixels. A file that cannot be used is a
DataError of one line that names it and the remedy; nothing is filled in. (One thing escapes: a file that was
closed properly around too few rows, as no truncation makes it. The decoders themselves take that for whole.)
"""

import errno
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from loopda.config import expanded
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import COLOURS, SYNTHIA, UNKNOWN, ClassList
from loopda.runtime.file_kinds import HEAD, kind_of, remedy_for
from loopda.runtime.files import patiently, written

Photograph = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
"""What `photograph` takes."""

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded. Cityscapes has 2 million pixels a picture."""

MOST_TEXT = 64 * 2**20
"""Bytes that a text or a colour profile in a PNG may unpack to, and all texts of one: they are decoded before the
pixels. Renderers and photo editors write several million; Pillow's own limit is one million."""

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
    return read_upright(path).image


class Upright(NamedTuple):
    """image: as `read_image` gives it. orientation: how its pixels lie in the file, by its EXIF tag: 1 upright, 2 ... 8
    turned or mirrored."""

    image: Image.Image
    orientation: int


def read_upright(path: Path) -> Upright:
    """As `read_image`, with the EXIF orientation of the file."""
    decoded = _decode(path)
    return Upright(_upright_rgb(decoded, path), decoded.orientation if decoded.orientation in _UPRIGHT else 1)


def photograph(image: Photograph) -> Image.Image:
    """The path of an image file, a PIL image, or an array as `read_image` gives it: the same conversions, and the same
    refusals by DataError.

    An array is uint8: (H, W, 3) RGB (what OpenCV reads is BGR: turn it by `[..., ::-1]`), (H, W, 4) with an opaque
    alpha channel, (H, W) or (H, W, 1) grey. A PIL image may come from any format that Pillow has decoded; it is turned
    upright where it still has its EXIF orientation (`ImageOps.exif_transpose` turns it and takes that away).
    """
    if isinstance(image, str | os.PathLike):
        try:
            return read_image(expanded(os.fsdecode(image)))
        except ConfigError as error:
            raise DataError(str(error)) from None
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "")) or "the PIL image"
        return _upright_rgb(_loaded(image, name), name)
    if isinstance(image, np.ndarray):
        return _upright_rgb(_Decoded(_image_of_array(image), 8, 1), "the array")
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
    """ids: (H, W) uint8, as they stand in the file. palette: (N, 3) uint8, the colour of each id, where it has one."""

    ids: NDArray[np.uint8]
    palette: NDArray[np.uint8] | None = None


def read_label(path: Path, encoding: str = "", classes: ClassList | None = None) -> np.ndarray:
    """Read a label map: (H, W) uint8 raw ids, as they stand in the file (a ClassList turns them into
    indices).

    A PNG with one channel: 8-bit grey, or a palette of any depth, whose indices are the ids (its colours are
    not looked at). Everything else is a DataError: JPEG, RGB or RGBA (a colour rendering, not ids), 16 bits,
    grey of fewer than 8 bits (Pillow would stretch the ids over 0 .. 255), a map turned by EXIF. Where
    `encoding` is SYNTHIA, a PNG with three channels of 16 bits, of which the first holds the ids, and no other.
    Where it is COLOURS, a PNG of 8 bits in RGB, with an opaque alpha channel, or with a palette, whose colours are
    those of `classes`: its ids are their indices, IGNORE where a colour is void; other colours are a DataError.
    """
    return read_raw_label(path, encoding, classes).ids


def read_raw_label(path: Path, encoding: str = "", classes: ClassList | None = None) -> RawLabel:
    """As `read_label`, with the palette of the file."""
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


def _decoded_label(path: Path) -> tuple[Image.Image, int]:
    """A label map as it stands in its file, and its bits a channel; DataError where it is no upright PNG."""
    image, depth, orientation = _decode(path)
    if image.format != "PNG":
        raise DataError(f"{path}: a label map in {image.format}, which blurs ids at edges; labels must be PNG files")
    if orientation in _UPRIGHT:
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
    label = classes.of_colours()[codes]
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


class _Decoded(NamedTuple):
    image: Image.Image  # every pixel read, still in the mode of the file
    depth: int  # bits a channel in the file, which Pillow's mode hides
    orientation: int  # EXIF, 1 = upright


def _upright_rgb(decoded: _Decoded, name: Path | str) -> Image.Image:
    """The conversions and refusals of `read_image`, for an image called `name`. Nothing but pixels is left of it, so
    that what was turned once is not turned again."""
    image, depth, orientation = decoded
    if depth > 8:
        raise DataError(
            f"{name}: an image with {depth} bits a channel; save it with 8 bits a channel (scale its values to"
            " 0 ... 255: Pillow's `convert` only cuts them off)"
        )
    if image.mode not in ("RGB", "L", "1", "P", "RGBA", "LA", "PA"):
        raise DataError(f"{name}: an image in colour mode {image.mode}; convert it to RGB and save it again")
    image = _opaque(image, name).convert("RGB")
    image = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
    image.info.clear()
    return image


def _opaque(image: Image.Image, name: Path | str) -> Image.Image:
    """`image`, where it has no transparent pixel."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        least_alpha, _ = image.getchannel("A").getextrema()
        if least_alpha < 255:
            raise DataError(f"{name}: an image with transparent pixels; save it without an alpha channel")
    return image


def _loaded(image: Image.Image, name: str) -> _Decoded:
    """A PIL image of anybody's with its pixels, whether they were decoded before or are now."""
    width, height = image.size
    if width * height == 0:
        raise DataError(f"{name}: an image without pixels ({width}x{height})")
    if width * height > MOST_PIXELS:
        raise _too_large(name)
    closed = DataError(f"{name}: closed before its pixels were read; use it inside its `with` block")
    if getattr(image, "tile", None) and getattr(image, "fp", None) is None:
        raise closed
    try:
        depth = _depth(image)
        with _our_pillow():
            image.load()
        return _Decoded(image.copy(), depth, _orientation(image))
    except _DAMAGE as error:
        raise (closed if "closed" in str(error) else _unreadable(name, error)) from None


def _depth(image: Image.Image) -> int:
    """Bits a channel of a PIL image, or of the file that it was opened from, of which Pillow keeps the high 8 alone."""
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


def _image_of_array(array: np.ndarray) -> Image.Image:
    """A PIL image of the same pixels; DataError, with the remedy, where the array is no image of `photograph`'s."""
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
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise _too_large("the array")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def _to_bytes(array: np.ndarray) -> str:
    """How to make uint8 of an array of other numbers."""
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


_pillow_lock = threading.Lock()
_pillow_users = 0
_pillow_before: tuple[int, int, bool] = (0, 0, False)


@contextmanager
def _our_pillow() -> Iterator[None]:
    """Pillow accepts texts and colour profiles up to MOST_TEXT, and no truncated file, while any thread is in this
    block.

    It has variables of its modules for that, which whoever uses this package may have set for other reasons: they have
    their values again when the last thread leaves.
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


def _decode(path: Path | zipfile.Path, *, low_bytes: bool = False) -> _Decoded:
    """Every pixel of `path`. low_bytes: of 16-bit RGB the low byte of each channel, where Pillow gives the high."""
    try:
        return patiently(lambda: _decoded(path, low_bytes))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path) from None
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _decoded(path: Path | zipfile.Path, low_bytes: bool) -> _Decoded:
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


def _too_large(path: Path | zipfile.Path | str) -> DataError:
    return DataError(f"{path}: over the limit of {MOST_PIXELS:,} pixels; scale it down")


def _of_another_kind(path: Path | zipfile.Path, head: bytes) -> DataError:
    """What a file is that Pillow takes for neither a PNG nor a JPEG, which begins with the bytes `head`."""
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
            return DataError(f"{path}: cannot be read ({reason}); mend that, or fetch it again")
    reason = " ".join(str(error).split()) or type(error).__name__
    if "MAX_TEXT" in reason:
        return DataError(
            f"{path}: over {MOST_TEXT // 2**20} MiB of texts or of a colour profile beside its pixels; save it without"
            " them"
        )
    return DataError(f"{path}: damaged image ({reason}); fetch it again")
