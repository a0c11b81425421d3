"""The lots along a street: houses, parks, walls, fences, entrances of side streets, squares."""

from dataclasses import dataclass

import numpy as np

from loopda.town import buildings, furniture, plants
from loopda.town.world import UP, Lamp, Quad, Surface, ground_shadow


@dataclass(frozen=True)
class Lot:
    """A lot beside the pavement, in metres, and the objects on it.

    side: -1 (left) or +1. start, length: along the street. front: distance of its near edge from the middle of the
    road. tall, style: of the street's houses. eye: the position of the camera; no draw of `rng` depends on it. quads,
    lamps: those of the street, to which the lot adds.
    """

    rng: np.random.Generator
    eye: np.ndarray
    side: int
    start: float
    length: float
    front: float
    tall: float
    style: float
    quads: list[Quad]
    lamps: list[Lamp]

    def row(self, distance: float, height: float, surface: Surface) -> None:
        """A front along the whole lot, `distance` from the middle of the road."""
        self.quads.append(Quad(*self._along(distance), UP, self.length, height, surface))

    def across(self, distance: float, depth: float, height: float, surface: Surface) -> None:
        """A front at the lot's beginning, from `distance` to `distance + depth`."""
        x = distance if self.side > 0 else -distance - depth
        self.quads.append(Quad(np.array([x, 0.0, self.start]), np.array([1.0, 0, 0]), UP, depth, height, surface))

    def far_front(self, distance: float, height: float) -> None:
        """A facade along the lot and 8 m beyond both of its ends."""
        length = self.length + 16
        surface = buildings.facade(self.rng, length, height, shops=False, style=self.style)
        self.quads.append(Quad(*self._along(distance, beyond=8.0), UP, length, height, surface))

    def house(self, distance: float, height: float, *, shops: bool) -> None:
        """A house of 10 m depth."""
        quads, lamps = buildings.building(
            self.rng,
            side=self.side,
            front=distance,
            start=self.start,
            length=self.length,
            height=height,
            depth=10.0,
            shops=shops,
            style=self.style,
        )
        self.quads.extend(quads)
        self.lamps.extend(lamps)

    def trees(self, count: int, low: float, high: float, size: tuple[float, float]) -> None:
        """`count` trees of `size` (least, most), from `low` to `high` from the middle of the road."""
        for _ in range(count):
            x, z = self.side * self.rng.uniform(low, high), self.start + self.rng.uniform(0, self.length)
            tall = self.rng.uniform(*size)
            self.quads.extend(plants.tree(self.rng, x, z, self.eye, size=tall))
            self.quads.append(ground_shadow(x, z, 0.0, tall * 0.6, tall * 0.6, 0.35))

    def bush(self, depth: float, margin: float) -> None:
        """A bush 1 m to `depth` behind the front, `margin` from the lot's ends."""
        x = self.side * (self.front + self.rng.uniform(1, depth))
        z = self.start + self.rng.uniform(margin, self.length - margin)
        self.quads.append(plants.bush(self.rng, x, z, self.eye))

    def _along(self, distance: float, beyond: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Corner and direction of a front that faces the road and goes `beyond` the lot's ends."""
        z = self.start + self.length + beyond if self.side > 0 else self.start - beyond
        return np.array([self.side * distance, 0.0, z]), np.array([0.0, 0.0, -float(self.side)])


def build_up(lot: Lot, kind: str) -> float:
    """Build the lot of this kind; returns the height of the front that casts a shadow, in metres."""
    return _KINDS[kind](lot)


def _building(lot: Lot) -> float:
    height = float(np.clip(lot.tall + lot.rng.normal(0, 2.5), 6, 24))
    lot.house(lot.front + lot.rng.choice([0.0, 0.0, 0.4]), height, shops=lot.rng.random() < 0.5)
    return height


def _house(lot: Lot) -> float:
    """A house behind its garden."""
    back = lot.rng.uniform(4.5, 9)
    lot.house(lot.front + back, lot.rng.uniform(6, 9.5), shops=False)
    pick = lot.rng.integers(3)
    height = lot.rng.uniform(0.9, 1.5)
    surface = (furniture.fence, furniture.wall, plants.hedge)[pick](lot.rng, height)
    lot.row(lot.front, height, surface)
    lot.across(lot.front, back, height, surface)
    lot.trees(int(lot.rng.integers(1, 3)), lot.front + 1, lot.front + back - 0.5, (3.5, 6.5))
    if lot.rng.random() < 0.7:
        lot.bush(3, margin=1)
    return 0.0


def _park(lot: Lot) -> float:
    lot.trees(int(lot.rng.integers(3, 6)), lot.front + 1.5, lot.front + 16, (5, 10))
    for _ in range(int(lot.rng.integers(0, 4))):
        lot.bush(8, margin=0)
    height = lot.rng.uniform(7, 13)
    lot.row(lot.front + 19, height, plants.hedge(lot.rng, height))
    if lot.rng.random() < 0.25:
        lot.row(lot.front + 0.2, 1.1, furniture.fence(lot.rng, 1.1))
    return 0.0


def _wall(lot: Lot) -> float:
    height = lot.rng.uniform(1.7, 3.2)
    surface = furniture.wall(lot.rng, height)
    lot.row(lot.front, height, surface)
    lot.across(lot.front, 9.0, height, surface)
    lot.trees(int(lot.rng.integers(2, 4)), lot.front + 2, lot.front + 8, (5, 9))
    if lot.rng.random() < 0.5:
        lot.house(lot.front + 10, lot.rng.uniform(8, 13), shops=False)
    else:
        lot.row(lot.front + 12, 8.0, plants.hedge(lot.rng, 8.0))
    return height


def _fence(lot: Lot) -> float:
    height = lot.rng.uniform(1.5, 2.4)
    surface = furniture.fence(lot.rng, height)
    lot.row(lot.front, height, surface)
    lot.across(lot.front, 10.0, height, surface)
    lot.trees(int(lot.rng.integers(0, 3)), lot.front + 2, lot.front + 10, (4, 8))
    if lot.rng.random() < 0.6:
        lot.house(lot.front + 11, lot.rng.uniform(7, 14), shops=False)
    else:
        lot.row(lot.front + 14, 7.0, plants.hedge(lot.rng, 7.0))
    return 0.0


def _side(lot: Lot) -> float:
    """The entrance of a side street, and a front at its far end."""
    lot.far_front(lot.front + 38, 12.0)
    lot.across(lot.front + 0.5, 30, 0.01, plants.hedge(lot.rng, 0.01))
    return 0.0


def _square(lot: Lot) -> float:
    distance = lot.front + lot.rng.uniform(8, 15)
    lot.house(distance, float(np.clip(lot.tall + lot.rng.normal(0, 2), 7, 22)), shops=True)
    lot.trees(int(lot.rng.integers(1, 4)), lot.front + 1, lot.front + 7, (4, 7))
    return 0.0


_KINDS = {
    "building": _building,
    "house": _house,
    "park": _park,
    "wall": _wall,
    "fence": _fence,
    "side": _side,
    "square": _square,
}
