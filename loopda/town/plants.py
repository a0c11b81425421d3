"""Trees, hedges and bushes."""

import numpy as np

from loopda.town.texture import cloud, fill
from loopda.town.world import VEGETATION, Quad, Shade, Surface, billboard

LEAVES = [
    (0.10, 0.16, 0.035), (0.07, 0.12, 0.03), (0.14, 0.19, 0.05), (0.09, 0.13, 0.05), (0.19, 0.17, 0.05),
    (0.24, 0.14, 0.04),
]  # fmt: skip


def _foliage(u: np.ndarray, v: np.ndarray, height: float, base: np.ndarray, salt: float) -> np.ndarray:
    """Reflectance of leaves: light clumps above dark hollows."""
    coarse = cloud(u * 9 + salt, v * 9 + salt * 2)
    fine = cloud(u * 34 + salt * 3, v * 34)
    tone = (0.25 + 0.75 * coarse**1.5 + 0.5 * (fine - 0.5)) * (0.55 + 0.75 * v / height)
    return fill(len(u), base) * np.clip(tone * 1.5, 0.08, 2.0)[:, None]


def crown(rng: np.random.Generator, width: float, height: float, base: np.ndarray) -> Surface:
    """A round crown of several clumps with a ragged edge and a few holes."""
    salt = float(rng.uniform(0, 200))
    middle = rng.uniform(-0.28, 0.28, (4, 2))
    radius = rng.uniform(0.5, 0.72, 4)

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        x, y = u / width * 2 - 1, v / height * 2 - 1
        reach = np.full(len(u), -1.0, np.float32)
        for (cx, cy), r in zip(middle, radius, strict=True):
            np.maximum(reach, 1 - np.hypot(x - cx, y - cy) / r, out=reach)
        solid = reach + 0.5 * (cloud(u * 10 + salt, v * 10) - 0.5) + 0.25 * (cloud(u * 40, v * 40 + salt) - 0.5) > 0.06
        return Shade(VEGETATION, _foliage(u, v, height, base, salt), solid=solid, bend=np.clip(x, -0.9, 0.9) * 0.8)

    return surface


def trunk(width: float) -> Surface:
    """A brown stem; Cityscapes counts it as vegetation."""

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        albedo = fill(len(u), (0.10, 0.075, 0.055)) * (0.6 + 0.8 * cloud(u * 30, v * 8))[:, None]
        return Shade(VEGETATION, albedo, bend=(u / width * 2 - 1) * 1.2)

    return surface


def tree(rng: np.random.Generator, x: float, z: float, eye: np.ndarray, *, size: float) -> list[Quad]:
    """A tree of `size` metres, drawn as two or three crowns behind one another on a trunk."""
    base = np.array(LEAVES[int(rng.choice(6, p=[0.3, 0.25, 0.2, 0.15, 0.06, 0.04]))]) * rng.uniform(0.8, 1.3)
    stem = rng.uniform(0.28, 0.42) * size
    girth = 0.05 * size + 0.06
    quads = [billboard(x, z, girth, stem + 0.8, trunk(girth), eye=eye)]
    for shift in (-0.12, 0.12):
        width = size * rng.uniform(0.62, 0.85)
        height = (size - stem) * rng.uniform(0.95, 1.1)
        quads.append(
            billboard(
                x + shift * size * rng.uniform(-1.2, 1.2), z + shift * size, width, height,
                crown(rng, width, height, base), eye=eye, base=stem * rng.uniform(0.85, 1.0),
            )
        )  # fmt: skip
    return quads


def hedge(rng: np.random.Generator, height: float) -> Surface:
    """A hedge's side: leaves with a ragged upper edge."""
    base = np.array(LEAVES[int(rng.integers(4))]) * rng.uniform(0.8, 1.2)
    salt = float(rng.uniform(0, 200))

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        solid = v < height * (0.78 + 0.22 * cloud(u * 8 + salt, v * 2))
        return Shade(VEGETATION, _foliage(u, v, height, base, salt), solid=solid)

    return surface


def bush(rng: np.random.Generator, x: float, z: float, eye: np.ndarray) -> Quad:
    """A single bush."""
    width, height = rng.uniform(1.0, 2.4), rng.uniform(0.8, 1.8)
    base = np.array(LEAVES[int(rng.integers(5))])
    return billboard(x, z, width, height * 1.15, crown(rng, width, height * 1.15, base), eye=eye, base=-0.15 * height)
