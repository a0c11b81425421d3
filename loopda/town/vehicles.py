"""Cars, trucks, buses and trams: a side profile, extruded to the width of the vehicle."""

from dataclasses import dataclass

import numpy as np

from loopda.town.texture import cloud, fill, paint
from loopda.town.world import (
    BUS,
    CAR,
    TRAIN,
    TRUCK,
    UP,
    Lamp,
    Quad,
    Shade,
    Surface,
    direction,
    ground_shadow,
    rightwards,
)

PAINT = [
    (0.02, 0.02, 0.025), (0.06, 0.065, 0.07), (0.30, 0.31, 0.32), (0.62, 0.62, 0.60), (0.35, 0.03, 0.03),
    (0.03, 0.08, 0.28), (0.16, 0.17, 0.18), (0.04, 0.12, 0.08), (0.45, 0.38, 0.28),
    (0.02, 0.18, 0.35), (0.50, 0.32, 0.04),
]  # fmt: skip
# frequency of each paint
COMMON = np.array([0.16, 0.14, 0.16, 0.16, 0.09, 0.08, 0.10, 0.03, 0.03, 0.03, 0.02])
# colours of buses and trams above and below the windows
LIVERY = {
    BUS: (
        ((0.55, 0.03, 0.03), (0.05, 0.12, 0.42), (0.62, 0.60, 0.56), (0.60, 0.40, 0.03)),
        ((0.62, 0.62, 0.6), (0.1, 0.1, 0.12)),
    ),
    TRAIN: (
        ((0.60, 0.60, 0.58), (0.03, 0.16, 0.45), (0.45, 0.05, 0.05), (0.60, 0.55, 0.35)),
        ((0.02, 0.12, 0.42), (0.03, 0.3, 0.18), (0.15, 0.15, 0.15)),
    ),
}
GLASS = np.array((0.03, 0.04, 0.05))
TYRE = (0.02, 0.02, 0.02)
HEADLIGHT = np.array((1.0, 0.93, 0.78))
TAIL = np.array((1.0, 0.05, 0.03))


@dataclass(frozen=True)
class Body:
    """A vehicle's shape: the profile's points (ahead, up) in metres, rear to front, and where glass is."""

    label: int
    width: float
    profile: tuple[tuple[float, float], ...]
    glazed: tuple[int, ...]  # indices of profile edges that are windows
    belt: float  # side windows between this height ...
    sill: float  # ... and this far below the profile
    wheels: tuple[float, ...]
    radius: float
    cab: tuple[float, float]  # side windows between these two points ahead
    lamp_height: float = 0.7

    @property
    def length(self) -> float:
        """Metres from the rear to the front."""
        return self.profile[-1][0] - self.profile[0][0]


def _car(length: float, height: float, width: float, kind: str) -> Body:
    half, belt, hood = length / 2, 0.62 * height, 0.60 * height
    upper = {
        "van": (
            (-half, 0.95 * height), (-half + 0.1, height),
            (half - 1.5, height), (half - 0.75, belt), (half, 0.5 * height),
        ),
        "sedan": (
            (-half, hood), (-half + 0.7, belt), (-half + 1.35, height),
            (half - 2.0, height), (half - 1.15, belt), (half - 0.1, 0.5 * height),
        ),
    }.get(kind, (
        (-half, hood), (-half + 0.05, belt), (-half + 0.45, height * 0.98),
        (half - 1.9, height), (half - 1.05, belt), (half - 0.1, 0.5 * height),
    ))  # fmt: skip
    van = kind == "van"
    return Body(
        label=CAR,
        width=width,
        profile=((-half, 0.25), *upper, (half, 0.25)),
        glazed=(3,) if van else (2, 4),
        belt=belt,
        sill=0.14 if van else 0.12,
        wheels=(-half * 0.62, half * (0.66 if van else 0.64)),
        radius=0.34 if van else 0.33,
        cab=(-half * 0.9, half - 0.9) if van else (-half + 0.8, half - 1.15),
    )


def car_body(rng: np.random.Generator) -> Body:
    """A random hatchback, sedan, van or SUV."""
    kind = ("hatch", "sedan", "van", "suv")[int(rng.choice(4, p=[0.4, 0.3, 0.12, 0.18]))]
    if kind == "van":
        return _car(rng.uniform(4.6, 5.2), rng.uniform(1.9, 2.3), 1.9, kind)
    if kind == "suv":
        return _car(rng.uniform(4.3, 4.7), rng.uniform(1.62, 1.75), 1.85, kind)
    return _car(rng.uniform(3.8, 4.6), rng.uniform(1.42, 1.52), 1.78, kind)


def truck_body(rng: np.random.Generator) -> Body:
    """A random truck with a box behind its cab."""
    half, roof = rng.uniform(3.0, 4.3), rng.uniform(3.1, 3.7)
    cab = half - rng.uniform(1.7, 2.1)
    profile = (
        (-half, 0.5), (-half, roof), (cab - 0.25, roof), (cab - 0.2, 2.75),
        (half - 0.5, 2.8), (half - 0.05, 1.6), (half, 0.45),
    )  # fmt: skip
    return Body(
        label=TRUCK,
        width=2.4,
        profile=profile,
        glazed=(4,),
        belt=1.55,
        sill=0.2,
        wheels=(-half * 0.72, -half * 0.45, half - 0.9),
        radius=0.5,
        cab=(cab + 0.3, half - 0.35),
        lamp_height=0.9,
    )


def bus_body(rng: np.random.Generator) -> Body:
    """A random bus."""
    half, roof = rng.uniform(4.8, 6.0), rng.uniform(2.95, 3.15)
    profile = (
        (-half, 0.35), (-half, roof - 0.2), (-half + 0.2, roof),
        (half - 0.3, roof), (half - 0.1, roof - 0.35), (half, 1.0), (half, 0.35),
    )  # fmt: skip
    return Body(
        label=BUS,
        width=2.5,
        profile=profile,
        glazed=(4,),
        belt=1.1,
        sill=0.45,
        wheels=(-half * 0.55, half * 0.62),
        radius=0.48,
        cab=(-half + 0.4, half - 0.2),
        lamp_height=0.8,
    )


def tram_body(rng: np.random.Generator) -> Body:
    """A random tram, of the class train."""
    half, roof = rng.uniform(8.0, 12.0), rng.uniform(3.35, 3.6)
    profile = (
        (-half, 0.3), (-half + 0.1, 1.1), (-half + 0.7, roof - 0.3), (-half + 1.1, roof),
        (half - 1.1, roof), (half - 0.7, roof - 0.3), (half - 0.1, 1.1), (half, 0.3),
    )  # fmt: skip
    return Body(
        label=TRAIN,
        width=2.4,
        profile=profile,
        glazed=(1, 5),
        belt=1.25,
        sill=0.75,
        wheels=(),
        radius=0.4,
        cab=(-half + 1.0, half - 1.0),
        lamp_height=0.9,
    )


LARGE = {"truck": truck_body, "bus": bus_body, "train": tram_body}


def _side(
    body: Body, colour: np.ndarray, second: np.ndarray, reverse: bool, moving: bool, lit_inside: float
) -> Surface:
    ahead = np.array([point[0] for point in body.profile])
    height = np.array([point[1] for point in body.profile])
    rear, length = ahead[0], body.length
    floor = height[0]

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        a = rear + (length - u if reverse else u)
        roof = np.interp(a, ahead, height)
        albedo = fill(n, colour) * (0.8 + 0.3 * v / height.max() + 0.08 * cloud(u * 3, v * 3))[:, None]
        emitted = np.zeros((n, 3), np.float32)
        solid = (v < roof) & (v > floor)
        glass = (v > body.belt) & (v < roof - body.sill * 0.8) & (a > body.cab[0]) & (a < body.cab[1])
        if body.label == CAR:
            glass &= (
                (np.abs(a + 0.1) > 0.06)
                & (v < np.interp(a - 0.15, ahead, height))
                & (v < np.interp(a + 0.15, ahead, height))
            )
            paint(albedo, (np.abs(np.abs(a + 0.1) - 0.85) < 0.012) & (v < body.belt), colour * 0.4)
        elif body.label == TRUCK:
            box = a < body.cab[0] - 0.5
            paint(albedo, box & (v > 1.0), second * (1 - 0.15 * (np.abs(a % 1.2) < 0.05))[:, None])
            paint(albedo, box & (v > 1.7) & (v < 2.3) & (np.abs(a + 1.2) < 1.3), colour)
            paint(albedo, box & (v < 1.0), (0.05, 0.05, 0.05))
        else:
            glass &= a % 1.6 > 0.1
            paint(albedo, v < (0.9 if body.label == BUS else 1.15), second)
            door = (np.abs(a - body.cab[1] + 0.9) < 0.6) | (np.abs(a) < 0.6)
            paint(albedo, door & (v < body.belt), GLASS * 2)
            if body.label == TRAIN:
                joint = (np.abs(np.abs(a) - length / 6) < 0.3) & (v < roof - 0.3)
                paint(albedo, joint, (0.05, 0.05, 0.055))
                glass &= ~joint
                paint(albedo, v > roof - 0.35, (0.3, 0.3, 0.3))
        paint(albedo, glass, GLASS)
        albedo += (glass * (0.25 * np.clip((v - body.belt) / 0.8, 0, 1)))[:, None] * np.float32(0.4)
        if lit_inside:
            emitted += (glass * lit_inside * (0.6 + 0.8 * cloud(a * 20, v * 20)))[:, None] * np.array((0.95, 0.9, 0.72))
        for wheel in body.wheels:
            r = np.hypot(a - wheel, v - body.radius)
            paint(albedo, (r < body.radius * 1.18) & (v > floor * 0.9), (0.012, 0.012, 0.012))
            paint(albedo, r < body.radius, TYRE)
            paint(albedo, r < body.radius * 0.6, (0.28, 0.28, 0.28))
            paint(albedo, r < body.radius * 0.2, (0.05, 0.05, 0.05))
            solid |= r < body.radius
        if not body.wheels:
            solid |= v < floor
            paint(albedo, v < floor + 0.25, (0.04, 0.04, 0.04))
        lights = np.abs(v - body.lamp_height) < 0.1
        paint(albedo, lights & (a < rear + 0.25), TAIL * 0.4)
        paint(albedo, lights & (a > rear + length - 0.35), (0.5, 0.5, 0.48))
        if moving:
            emitted += (lights & (a < rear + 0.2))[:, None] * TAIL * 3
        return Shade(body.label, albedo, emitted, solid)

    return surface


def _edge(body: Body, index: int, colour: np.ndarray, second: np.ndarray, lamps: str, lit_inside: float) -> Surface:
    """The strip along profile edge `index`; `lamps` "front", "rear" (with "lit" if they are on) or ""."""
    (a0, b0), (a1, b1) = body.profile[index], body.profile[index + 1]
    length = float(np.hypot(a1 - a0, b1 - b0))
    width, glazed = body.width, index in body.glazed

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        height = b0 + (b1 - b0) * v / length
        albedo = (
            fill(n, colour if body.label != TRUCK or index > 2 else second)
            * (0.92 + 0.16 * cloud(u * 3, v * 3))[:, None]
        )
        emitted = np.zeros((n, 3), np.float32)
        edge = np.minimum(u, width - u)
        if glazed:
            glass = (edge > 0.12) & (v > 0.06) & (v < length - 0.06)
            paint(albedo, glass, GLASS)
            albedo += (glass * (0.04 + 0.06 * cloud(u * 8, v * 8)))[:, None]
            if lit_inside:
                emitted += (glass * lit_inside * (0.5 + 0.8 * cloud(u * 20, v * 20)))[:, None] * np.array(
                    (0.95, 0.9, 0.72)
                )
            if body.label in (BUS, TRAIN):
                board = (height > body.profile[3][1] - 0.62) & (np.abs(u - width / 2) < 0.8)
                paint(albedo, board, (0.02, 0.02, 0.02))
                emitted += (board & (u % 0.22 < 0.14) & (v % 0.3 > 0.06))[:, None] * np.array((1.0, 0.5, 0.05)) * 3
        elif lamps:
            if body.label in (BUS, TRAIN):
                paint(albedo, height < 1.1, second)
                if lamps == "rear" and body.label == BUS:
                    paint(albedo, (height > 1.6) & (height < 2.6) & (edge > 0.25), GLASS * 2)
            elif body.label == TRUCK and lamps == "rear":
                paint(albedo, np.abs(u - width / 2) < 0.02, second * 0.4)
                paint(albedo, height < 0.9, (0.05, 0.05, 0.05))
            else:
                if body.label == CAR and lamps == "rear" and body.profile[-4][1] > 1.8:
                    paint(albedo, (height > 1.25) & (edge > 0.2), GLASS)
                paint(
                    albedo,
                    (height < 0.42) | ((lamps == "front") & (np.abs(height - 0.52) < 0.1) & (edge > 0.42)),
                    (0.02, 0.02, 0.02),
                )
            plate = (np.abs(u - width / 2) < 0.27) & (np.abs(height - 0.52) < 0.07)
            paint(albedo, plate, (0.7, 0.7, 0.68))
            lamp = (np.abs(height - body.lamp_height) < 0.1) & (edge < 0.34) & (edge > 0.05)
            tone = HEADLIGHT if lamps.startswith("front") else TAIL
            paint(albedo, lamp, tone * 0.6)
            if lamps.endswith("lit"):
                emitted += lamp[:, None] * tone * (60.0 if lamps.startswith("front") else 7.0)
        paint(albedo, edge < 0.05, colour * 0.7)
        return Shade(body.label, albedo, emitted)

    return surface


def vehicle(
    rng: np.random.Generator, body: Body, x: float, z: float, angle: float, *, moving: bool
) -> tuple[list[Quad], list[Lamp]]:
    """The vehicle with its centre at (x, z) and heading `angle`; a moving vehicle has its lights on."""
    colour = np.array(PAINT[int(rng.choice(len(PAINT), p=COMMON))]) * rng.uniform(0.8, 1.2)
    second = np.array(((0.62, 0.62, 0.6), (0.5, 0.5, 0.52), (0.55, 0.5, 0.4), (0.2, 0.22, 0.3))[int(rng.integers(4))])
    if body.label in LIVERY:
        above, below = LIVERY[body.label]
        colour = np.array(above[int(rng.integers(len(above)))])
        second = np.array(below[int(rng.integers(len(below)))])
    lit_inside = (rng.uniform(0.8, 2.0) if moving else 0.15) if body.label in (BUS, TRAIN) else 0.0
    ahead, right = direction(angle), rightwards(direction(angle))
    place = np.array([x, 0.0, z])
    rear, front = body.profile[0][0], body.profile[-1][0]
    top = max(point[1] for point in body.profile)
    half = body.width / 2
    quads = [ground_shadow(x, z, angle, body.width + 0.7, body.length + 0.7, 0.8)]
    for corner, along, reverse in (
        (place + ahead * rear + right * half, ahead, False),
        (place + ahead * front - right * half, -ahead, True),
    ):
        surface = _side(body, colour, second, reverse, moving, lit_inside)
        quads.append(Quad(corner, along, UP, body.length, top, surface))
    lit = "lit" if moving else ""
    last = len(body.profile) - 2
    for i, ((a0, b0), (a1, b1)) in enumerate(zip(body.profile, body.profile[1:], strict=False)):
        length = float(np.hypot(a1 - a0, b1 - b0))
        slope = (ahead * (a1 - a0) + UP * (b1 - b0)) / length
        spans_lamp = min(b0, b1) <= body.lamp_height <= max(b0, b1)
        lamps = f"rear{lit}" if i <= 1 and spans_lamp else f"front{lit}" if i >= last - 1 and spans_lamp else ""
        surface = _edge(body, i, colour, second, lamps, lit_inside)
        quads.append(Quad(place + ahead * a0 + UP * b0 - right * half, right, slope, body.width, length, surface))
    lights = []
    if moving:
        nose = place + ahead * (front + 0.1) + UP * body.lamp_height
        lights.append(Lamp(nose, HEADLIGHT * 14, aim=ahead * np.cos(0.06) - UP * np.sin(0.06), edge=0.78))
        lights.append(Lamp(place + ahead * (rear - 0.4) + UP * body.lamp_height, TAIL * 0.5))
        if lit_inside:
            lights += [
                Lamp(place + right * s * (half + 0.5) + UP * 1.8, np.array((0.9, 0.85, 0.7)) * 1.2) for s in (-1, 1)
            ]
    return quads, lights
