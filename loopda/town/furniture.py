"""Objects on the pavement: poles, street lamps, traffic lights and signs, walls, fences."""

import numpy as np

from loopda.town.texture import cell, cloud, fill, paint
from loopda.town.world import FENCE, LIGHT, POLE, SIGN, UP, WALL, Lamp, Quad, Shade, Surface, billboard, upright

STEEL = [(0.30, 0.31, 0.31), (0.20, 0.22, 0.21), (0.12, 0.15, 0.13), (0.36, 0.36, 0.35)]
# reflectance of the colours of signs
RED, BLUE, WHITE, YELLOW, GREEN, BLACK = (
    (0.62, 0.03, 0.04), (0.03, 0.13, 0.50), (0.78, 0.78, 0.76),
    (0.80, 0.55, 0.04), (0.02, 0.32, 0.14), (0.03, 0.03, 0.03),
)  # fmt: skip

STOUT = 1.8
"""Posts are this much thicker than real ones, so that a small network can see them at 256 x 128 pixels."""


def tube(colour: np.ndarray | tuple, width: float) -> Surface:
    """A round pole."""

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        albedo = fill(len(u), colour) * (0.85 + 0.3 * cloud(u * 10, v * 3))[:, None]
        return Shade(POLE, albedo, bend=(u / width * 2 - 1) * 1.5)

    return surface


def pole(x: float, z: float, eye: np.ndarray, *, height: float, width: float, colour: tuple) -> Quad:
    """A vertical pole that faces `eye`; it is drawn STOUT times as wide."""
    width = width * STOUT
    return billboard(x, z, width, height, tube(colour, width), eye=eye)


def bar(x0: float, x1: float, y: float, z: float, thickness: float, colour: tuple) -> Quad:
    """A horizontal arm across the view."""
    low, high = min(x0, x1), max(x0, x1)
    look = Shade(POLE, np.array(colour))
    return Quad(np.array([low, y, z]), np.array([1.0, 0, 0]), UP, high - low, thickness, lambda u, v, f: look)


def street_lamp(
    rng: np.random.Generator,
    x: float,
    z: float,
    eye: np.ndarray,
    *,
    height: float,
    tone: np.ndarray,
    works: bool,
    colour: tuple,
) -> tuple[list[Quad], list[Lamp]]:
    """A lamp on a pole whose arm points to the middle of the street; `tone` (3,) is its light."""
    inward = -np.sign(x)
    arm = rng.uniform(0.9, 1.6)
    quads = [
        pole(x, z, eye, height=height, width=0.2, colour=colour),
        bar(x, x + inward * arm, height - 0.12, z, 0.1, colour),
    ]
    end = x + inward * arm
    glow = tone / tone.max() * (55.0 if works else 0.0)

    def head(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        return Shade(POLE, fill(len(u), (0.35, 0.35, 0.33)), (v < 0.12)[:, None] * glow)

    quads.append(Quad(np.array([end - 0.35, height - 0.2, z - 0.05]), np.array([1.0, 0, 0]), UP, 0.7, 0.26, head))
    # little light leaves the head sideways and none upwards: the upper storeys stay dark
    return quads, [Lamp(np.array([end, height - 0.3, z]), tone, aim=-UP, edge=-0.02)] if works else []


def traffic_light_face(phase: int) -> Surface:
    """Three lenses in a dark housing of 0.42 x 1.1 m; `phase` 0 red, 1 amber, 2 green."""
    tones = (np.array((1.0, 0.06, 0.03)), np.array((1.0, 0.45, 0.03)), np.array((0.08, 1.0, 0.45)))

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        albedo = fill(len(u), (0.035, 0.04, 0.04))
        emitted = np.zeros((len(u), 3), np.float32)
        edge = (u < 0.03) | (u > 0.39) | (v < 0.03) | (v > 1.07)
        paint(albedo, edge, (0.25, 0.25, 0.23))
        for i, tone in enumerate(tones):
            lens = np.hypot(u - 0.21, v - (0.9 - 0.35 * i)) < 0.145
            paint(albedo, lens, tone * 0.12 + 0.02)
            if i == phase:
                emitted += lens[:, None] * tone * 14
        return Shade(LIGHT, albedo, emitted)

    return surface


def traffic_light(
    x: float, z: float, eye: np.ndarray, *, phase: int, over: float | None, colour: tuple
) -> tuple[list[Quad], list[Lamp]]:
    """A traffic light on its pole; with `over`, a second one hangs above the road at that x."""
    face = traffic_light_face(phase)
    side = Shade(LIGHT, np.array((0.02, 0.02, 0.02)))  # the housing's depth, seen from the side
    height = 3.3 if over is None else 5.6
    quads = [
        pole(x, z, eye, height=height, width=0.18, colour=colour),
        upright(x, z - 0.12, 0.0, 0.42, 1.1, face, base=2.2),
        upright(x, z - 0.02, 0.0, 0.5, 1.2, lambda u, v, f: side, base=2.15),
    ]
    lamps = [Lamp(np.array([x, 2.8, z - 0.4]), np.eye(3)[(0, 0, 1)[phase]] * 0.5 + 0.02)]
    if over is not None:
        quads.append(bar(x, over, 5.45, z, 0.12, colour))
        quads.append(upright(over, z - 0.12, 0.0, 0.42, 1.1, face, base=4.5))
        quads.append(upright(over, z - 0.02, 0.0, 0.5, 1.2, lambda u, v, f: side, base=4.45))
    return quads, lamps


def sign_face(kind: int, size: float, salt: int) -> Surface:
    """A sign: 0 limit, 1 warning, 2 blue round, 3 priority, 4 stop, 5 no entry, 6 blue square, 7 plate."""

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        x, y = u / size * 2 - 1, v / size * 2 - 1
        r = np.hypot(x, y)
        albedo = fill(n, WHITE)
        solid = r < 1
        if kind == 0:
            paint(albedo, r > 0.68, RED)
            paint(albedo, (np.abs(np.abs(x) - 0.22) < 0.13) & (np.abs(y) < 0.34) & (r < 0.6), BLACK)
        elif kind == 1:
            inside = np.minimum(y + 0.9, (0.95 - y) - np.abs(x) * 1.85)
            solid = inside > 0
            paint(albedo, inside < 0.32, RED)
            paint(albedo, (np.abs(x) < 0.09) & (np.abs(y + 0.2) < 0.32), BLACK)
        elif kind == 2:
            paint(albedo, r < 0.93, BLUE)
            paint(albedo, (np.abs(x) < 0.12) & (np.abs(y) < 0.5), WHITE)
        elif kind == 3:
            r = np.abs(x) + np.abs(y)
            solid = r < 1
            paint(albedo, r < 0.66, YELLOW)
        elif kind == 4:
            r = np.maximum(np.maximum(np.abs(x), np.abs(y)), (np.abs(x) + np.abs(y)) * 0.7071)
            solid = r < 0.95
            paint(albedo, r < 0.86, RED)
            paint(albedo, (np.abs(y) < 0.18) & (np.abs(x) < 0.6), WHITE)
        elif kind == 5:
            paint(albedo, r < 0.95, RED)
            paint(albedo, (np.abs(y) < 0.17) & (np.abs(x) < 0.68), WHITE)
        else:
            solid = np.ones(n, bool)
            if kind == 6:
                paint(albedo, np.maximum(np.abs(x), np.abs(y)) < 0.92, BLUE)
                paint(albedo, (np.abs(x) < 0.3) & (np.abs(y) < 0.5), WHITE)
            else:
                paint(albedo, (np.abs(x) < 0.75) & (cell(v * 7, u * 0, salt) > 0.5), (0.1, 0.1, 0.1))
        return Shade(SIGN, albedo, solid=solid, retro=0.8)

    return surface


def sign(
    rng: np.random.Generator, x: float, z: float, eye: np.ndarray, *, colour: tuple, turn: float = 0.0
) -> list[Quad]:
    """One or two signs on a pole, facing the traffic."""
    size, low = rng.uniform(0.8, 1.1), rng.uniform(1.9, 2.4)
    quads = [pole(x, z, eye, height=low + size + 0.1, width=0.12, colour=colour)]
    kind = int(rng.choice(8, p=[0.2, 0.16, 0.13, 0.14, 0.06, 0.11, 0.15, 0.05]))
    quads.append(upright(x, z - 0.08, turn, size, size, sign_face(kind, size, int(rng.integers(99))), base=low))
    if rng.random() < 0.35:
        face = sign_face(int(rng.choice([1, 6, 7, 0])), size * 0.8, 5)
        quads.append(upright(x, z - 0.08, turn, size * 0.8, size * 0.8, face, base=low - size * 0.85))
    return quads


def signpost(rng: np.random.Generator, x: float, z: float, eye: np.ndarray, *, colour: tuple) -> list[Quad]:
    """A large direction sign on two poles."""
    width, height, low = rng.uniform(1.5, 2.4), rng.uniform(0.9, 1.4), rng.uniform(1.9, 2.5)
    back = (BLUE, GREEN, WHITE)[int(rng.integers(3))]
    ink = (0.1, 0.1, 0.1) if back is WHITE else WHITE
    salt = int(rng.integers(999))

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        albedo = fill(len(u), back)
        edge = np.minimum(np.minimum(u, width - u), np.minimum(v, height - v))
        line = np.floor(v / height * 3)
        text = (
            (np.abs(v / height * 3 - line - 0.5) < 0.25)
            & (u < width * (0.45 + 0.5 * cell(line, line, salt)))
            & (u > 0.15)
        )
        paint(albedo, text & (cell(u / 0.1, line, salt) > 0.3), ink)
        paint(albedo, edge < 0.05, ink)
        return Shade(SIGN, albedo, retro=0.6)

    quads = [pole(x + side * width * 0.38, z, eye, height=low + height, width=0.13, colour=colour) for side in (-1, 1)]
    return [*quads, upright(x, z - 0.08, 0.0, width, height, surface, base=low)]


def wall(rng: np.random.Generator, height: float) -> Surface:
    """A free-standing wall of stone, brick or concrete."""
    base = np.array(
        ((0.36, 0.34, 0.31), (0.28, 0.17, 0.12), (0.44, 0.43, 0.41), (0.30, 0.29, 0.25))[int(rng.integers(4))]
    )
    course, block = rng.uniform(0.18, 0.5), rng.uniform(0.4, 1.2)
    salt = int(rng.integers(999))

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        row = np.floor(v / course)
        column = np.floor(u / block + 0.5 * (row % 2))
        albedo = fill(len(u), base) * (0.7 + 0.5 * cell(column, row, salt) * np.clip(0.1 / footprint, 0, 1))[:, None]
        joint = ((v / course - row) * course < 0.03) & (footprint < 0.06)
        paint(albedo, joint, base * 0.5)
        albedo *= (0.75 + 0.5 * cloud(u * 4 + salt, v * 6))[:, None]
        paint(albedo, v > height - 0.12, base * 1.3)
        return Shade(WALL, albedo)

    return surface


def fence(rng: np.random.Generator, height: float) -> Surface:
    """A fence of pickets or bars; the dark gaps count as fence, as in Cityscapes."""
    colour = np.array(
        ((0.32, 0.20, 0.11), (0.55, 0.53, 0.48), (0.10, 0.16, 0.11), (0.22, 0.22, 0.22))[int(rng.integers(4))]
    )
    pitch = rng.uniform(0.16, 0.3)
    gap = colour * 0.25
    pickets = rng.random() < 0.6

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        phase = u / pitch % 1
        albedo = fill(len(u), gap)
        blur = np.clip(1.2 - footprint / pitch * 1.2, 0, 1)
        paint(albedo, np.where(phase < 0.6, 0.6 + 0.4 * blur, 0.6 - 0.6 * blur), colour)
        paint(albedo, (np.abs(v - height * 0.25) < 0.05) | (np.abs(v - height * 0.78) < 0.05), colour * 1.1)
        paint(albedo, u % 2.5 < 0.1, colour * 0.8)
        solid = v < height - (np.abs(phase - 0.3) * 0.35 if pickets else 0.0)
        return Shade(FENCE, albedo, solid=solid)

    return surface
