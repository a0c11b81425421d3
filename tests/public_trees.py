"""Miniatures of the public data sets: five images of each, with the published folders, names and encodings."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from loopda.labels.classes import CITYSCAPES, IGNORE, SYNTHIA

WIDTH, HEIGHT = 16, 8
CLASSES = ("sky", "building", "road", "car")  # each a quarter of every label map, but for the void first pixel
MGCDA_LIST = "images_trainval_night_correct_filenames.txt"


def photograph(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A picture of noise, so that a part of its file is not the whole of it, and of its own for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(path.name.encode())).integers(
        0, 256, (size[1], size[0], 3), dtype=np.uint8
    )
    Image.fromarray(noise).save(path)
    return path


def raw_ids(encoding: str, void: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """(H, W) uint8: CLASSES in bands from the top, as `encoding` writes them, and `void` in the first pixel."""
    indices = [CITYSCAPES.names.index(name) for name in CLASSES]
    bands = [CITYSCAPES.encoding(encoding).ids[index][0] for index in indices]
    ids = np.repeat(np.array(bands, dtype=np.uint8), size[1] // len(bands))[:, None].repeat(size[0], axis=1)
    ids[0, 0] = void
    return ids


def label(path: Path, encoding: str = "labelIds", void: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A label map in 8-bit grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(raw_ids(encoding, void, size)).save(path)
    return path


def palette_label(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), void: int = 34) -> Path:
    """A label map of GTA5: a palette PNG whose indices are label ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = raw_ids("labelIds", void, size)
    image = Image.frombytes("P", size, ids.tobytes())
    palette = np.zeros((256, 3), dtype=np.uint8)
    for name, values in zip(CITYSCAPES.names, CITYSCAPES.encoding("labelIds").ids, strict=True):
        palette[list(values)] = CITYSCAPES.colours[CITYSCAPES.names.index(name)]
    image.putpalette(palette.tobytes())
    image.save(path)
    return path


def png_bytes(width: int, height: int, depth: int, colour_type: int, rows: list[bytes]) -> bytes:
    """A PNG as the standard defines it, for the kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def label_16_bit(path: Path, ids: np.ndarray | None = None) -> Path:
    """A label map of SYNTHIA: 16-bit RGB, the class ids in the first channel, instances (over 255) in the second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = raw_ids(SYNTHIA, 0) if ids is None else ids
    pixels = np.zeros((*ids.shape, 3), dtype=">u2")
    pixels[..., 0] = ids
    pixels[..., 1] = 300 + np.arange(ids.shape[1])
    path.write_bytes(png_bytes(ids.shape[1], ids.shape[0], 16, 2, [row.tobytes() for row in pixels]))
    return path


def cityscapes(root: Path, split: str = "train") -> Path:
    for number in range(5):
        city = ("aachen", "bochum")[number % 2] if split == "train" else "munster"
        name = f"{split}/{city}/{city}_{number:06d}_000019"
        photograph(root / f"leftImg8bit/{name}_leftImg8bit.png")
        label(root / f"gtFine/{name}_gtFine_labelIds.png")
        Image.new("RGBA", (WIDTH, HEIGHT)).save(root / f"gtFine/{name}_gtFine_color.png")
    return root


def dark_zurich(root: Path) -> Path:
    """All three archives in one folder, with the pair list: two nights share a day; val and test have references."""
    pairs = []
    for number in range(5):
        night = f"train/night/GOPR0351/GOPR0351_frame_{number:06d}"
        day = f"train/day/GOPR0345/GOPR0345_frame_{max(number, 1):06d}"
        for name in (night, day):
            photograph(root / f"rgb_anon/{name}_rgb_anon.png")
        pairs.append(f"{night},{day}\n")
        for split, recording in (("val", "GOPR0356"), ("test", "GOPR0364")):
            stem = f"{recording}_frame_{number:06d}"
            photograph(root / f"rgb_anon/{split}/night/{recording}/{stem}_rgb_anon.png")
            photograph(root / f"rgb_anon/{split}_ref/day/{recording}_ref/{stem}_ref_rgb_anon.png")
        truth = f"gt/val/night/GOPR0356/GOPR0356_frame_{number:06d}_gt"
        label(root / f"{truth}_labelIds.png")
        label(root / f"{truth}_labelTrainIds.png", "labelTrainIds", IGNORE)
        Image.new("RGBA", (WIDTH, HEIGHT)).save(root / f"{truth}_labelColor.png")
        Image.new("L", (WIDTH, HEIGHT)).save(root / f"{truth}_invIds.png")
    (root / "zurich_dn_pair_train.csv").write_text("".join(pairs))
    return root


def nighttime_driving(root: Path) -> Path:
    for name in ("0_frame_0250", "0_frame_0374", "01_frame_0906", "0_frame_1738", "01_frame_1088"):
        photograph(root / f"leftImg8bit/test/night/{name}_leftImg8bit.png")
        stem = root / f"gtCoarse_daytime_trainvaltest/test/night/{name}_gtCoarse"
        label(stem.with_name(f"{stem.name}_labelIds.png"))
        label(stem.with_name(f"{stem.name}_labelTrainIds.png"), "labelTrainIds", IGNORE)
        Image.new("RGBA", (WIDTH, HEIGHT)).save(stem.with_name(f"{stem.name}_color.png"))
        stem.with_name(f"{stem.name}_polygons.json").write_text("{}")
    return root


def acdc(root: Path, split: str = "train", condition: str = "night") -> Path:
    for number in range(5):
        recording = ("GOPR0351", "GP010376")[number % 2]
        stem = f"{recording}/{recording}_frame_{number:06d}"
        photograph(root / f"rgb_anon/{condition}/{split}/{stem}_rgb_anon.png")
        photograph(root / f"rgb_anon/{condition}/{split}_ref/{stem}_rgb_ref_anon.png")
        if split != "test":
            truth = f"gt/{condition}/{split}/{stem}_gt"
            label(root / f"{truth}_labelIds.png")
            label(root / f"{truth}_labelTrainIds.png", "labelTrainIds", IGNORE)
            Image.new("RGBA", (WIDTH, HEIGHT)).save(root / f"{truth}_labelColor.png")
            Image.new("L", (WIDTH, HEIGHT)).save(root / f"{truth}_invIds.png")
    return root


def bdd100k(root: Path, *, new: bool = True) -> Path:
    """With MGCDA's list in `root`; one more image of train is not in it, because it shows day."""
    names = [("train", "aa01"), ("train", "aa02"), ("val", "bb01"), ("train", "aa03"), ("val", "bb02")]
    (root).mkdir(parents=True, exist_ok=True)
    (root / MGCDA_LIST).write_text("".join(f"seg/images/{split}/{name}.jpg\n" for split, name in names))
    for split, name in [*names, ("train", "aa00")]:
        if new:
            image, truth = f"images/10k/{split}/{name}.jpg", f"labels/sem_seg/masks/{split}/{name}.png"
        else:
            image, truth = f"seg/images/{split}/{name}.jpg", f"seg/labels/{split}/{name}_train_id.png"
        photograph(root / image)
        label(root / truth, "labelTrainIds", IGNORE)
    return root


def gta5(root: Path) -> Path:
    for number in range(1, 6):
        photograph(root / f"images/{number:05d}.png")
        palette_label(root / f"labels/{number:05d}.png")
    return root


def synthia(root: Path) -> Path:
    for number in range(5):
        photograph(root / f"RGB/{number:07d}.png")
        label_16_bit(root / f"GT/LABELS/{number:07d}.png")
    return root
