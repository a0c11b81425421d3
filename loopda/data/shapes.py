"""Which images a resizing squeezes, and a size that would keep their shape."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import log

from loopda.data.dataset import SHORTEST, Size
from loopda.data.manifest import Row

TOLERANCE = 0.05  # of the ratio of the sides; our choice: GTA5's 1914x1052 beside 16:9 is 0.023, and 16:10 is 0.11
STEP = 8  # pixels, by which networks divide their input
AREA = 1.4  # a size that is proposed has between 1 / AREA and AREA times as many pixels


def squeezed(rows: Sequence[Row], size: Size) -> str:
    """`14 images of 1920x1080 (16:9) are squeezed to 192x144 (4:3)`; "" where all keep their shape at `size` (width,
    height), up to TOLERANCE."""
    shapes = _other_shapes(rows, size)
    if not shapes:
        return ""
    (shape, count), *others = shapes
    more = f", and {sum(number for _, number in others)} of other sizes," if others else ""
    return f"{count} images of {_described(shape)}{more} are squeezed to {_described(size)}"


def keeping_shape(rows: Sequence[Row], size: Size) -> Size:
    """About as many pixels as `size`, in the shape of most of the images that it squeezes; sides divisible by STEP."""
    [(shape, _), *_] = _other_shapes(rows, size)
    wanted, pixels = shape[0] / shape[1], size[0] * size[1]
    candidates = [
        (width, height)
        for width in range(STEP, int(AREA * pixels) // SHORTEST + 1, STEP)
        for height in {int(width / wanted) // STEP * STEP, (int(width / wanted) // STEP + 1) * STEP}
        if min(width, height) >= SHORTEST and pixels / AREA <= width * height <= pixels * AREA
    ]
    return min(
        candidates,
        default=size,
        key=lambda it: (_squeeze(it, shape), abs(log(it[0] * it[1] / pixels))),
    )


def _other_shapes(rows: Sequence[Row], size: Size) -> list[tuple[Size, int]]:
    """The sizes of images that have another shape than `size`, each with its number, the most frequent first."""
    sizes = Counter((row.width, row.height) for row in rows)
    return [(shape, count) for shape, count in sizes.most_common() if _squeeze(shape, size) > TOLERANCE]


def _squeeze(shape: Size, size: Size) -> float:
    """How much the ratio of the sides of `shape` changes at `size`, 0 for none."""
    ratios = shape[0] / shape[1], size[0] / size[1]
    return max(ratios) / min(ratios) - 1


def _described(size: Size) -> str:
    ratio = Fraction(*size).limit_denominator(20)
    return f"{size[0]}x{size[1]} ({ratio.numerator}:{ratio.denominator})"
