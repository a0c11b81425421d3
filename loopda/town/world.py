"""The parts of a scene: flat surfaces, lights and the ground, in world coordinates (see camera.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

(ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN, SKY) = range(11)
(PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE) = range(11, 19)

VOID = 255  # the ego vehicle, which has no class

UP = np.array([0.0, 1.0, 0.0])


class Shade(NamedTuple):
    """The shading of n points of a surface, in linear RGB: reflectance 0..1, emitted light as radiance."""

    label: int | np.ndarray
    albedo: np.ndarray  # (3,) or (n, 3)
    emitted: np.ndarray | None = None  # (3,) or (n, 3)
    solid: np.ndarray | None = None  # (n,) bool: False where the surface has a hole
    bend: np.ndarray | None = None  # (n,): the normal leans along the surface by this much, for round things
    retro: float | np.ndarray = 0.0  # share of light sent back to the headlights


# u, v: metres from the lower left corner, footprint: metres covered by a pixel; each (n,)
Surface = Callable[[np.ndarray, np.ndarray, np.ndarray], Shade]


@dataclass(frozen=True)
class Quad:
    """A rectangle in space with a surface; `along` and `up` are orthogonal unit vectors."""

    corner: np.ndarray
    along: np.ndarray
    up: np.ndarray
    width: float
    height: float
    surface: Surface
    shadow: bool = False  # True: it only darkens the ground, by the surface's albedo[0]


@dataclass(frozen=True)
class Lamp:
    """A point light: place (3,), colour (3,) = irradiance at one metre; `aim` (3,) makes it a spotlight.

    The light of a spotlight falls from its axis to zero at the angle whose cosine is `edge`.
    """

    place: np.ndarray
    colour: np.ndarray
    aim: np.ndarray | None = None
    edge: float = 0.75


@dataclass
class Scene:
    """A scene without its camera: quads, lamps, the ground, and the skyline that casts long shadows."""

    ground: Callable[[np.ndarray, np.ndarray, np.ndarray], Shade]
    quads: list[Quad] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)
    # per side (left, right): height of the facades at every whole metre of z, and how far from the middle
    skyline: tuple[np.ndarray, np.ndarray] = (np.zeros(0), np.zeros(0))
    facade_at: tuple[float, float] = (8.0, 8.0)
    first_metre: int = 0


def direction(angle: float) -> np.ndarray:
    """The horizontal unit vector at `angle`: 0 is along the street, positive angles are to the right."""
    return np.array([np.sin(angle), 0.0, np.cos(angle)])


def rightwards(ahead: np.ndarray) -> np.ndarray:
    """The horizontal unit vector to the right of the horizontal unit vector `ahead`."""
    return np.array([ahead[2], 0.0, -ahead[0]])


def billboard(
    x: float, z: float, width: float, height: float, surface: Surface, *, eye: np.ndarray, base: float = 0.0
) -> Quad:
    """An upright quad centred on (x, z) that faces the point `eye`."""
    ahead = np.array([x - eye[0], 0.0, z - eye[2]])
    ahead /= max(float(np.hypot(ahead[0], ahead[2])), 1e-6)
    along = rightwards(ahead)
    corner = np.array([x, base, z]) - along * (width / 2)
    return Quad(corner, along, UP, width, height, surface)


def upright(
    x: float, z: float, angle: float, width: float, height: float, surface: Surface, *, base: float = 0.0
) -> Quad:
    """An upright quad centred on (x, z) whose outward normal points back along `direction(angle)`."""
    along = rightwards(direction(angle))
    return Quad(np.array([x, base, z]) - along * (width / 2), along, UP, width, height, surface)


def ground_shadow(x: float, z: float, angle: float, width: float, length: float, strength: float) -> Quad:
    """A soft shadow on the ground below an object of the given size."""

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        du = np.abs(u / width * 2 - 1)
        dv = np.abs(v / length * 2 - 1)
        inside = np.clip(1.15 - np.sqrt(du**4 + dv**4) * 1.15, 0, 1)
        return Shade(0, 1 - strength * np.clip(inside * 2.5, 0, 1))

    ahead = direction(angle)
    along = rightwards(ahead)
    corner = np.array([x, 0.0, z]) - along * (width / 2) - ahead * (length / 2)
    return Quad(corner, along, ahead, width, length, surface, shadow=True)
