"""Pedestrians, riders, bicycles and motorcycles: flat figures of ellipses and strokes."""

import numpy as np

from loopda.town.texture import cloud, fill, paint
from loopda.town.vehicles import HEADLIGHT, TAIL
from loopda.town.world import BICYCLE, MOTORCYCLE, PERSON, RIDER, Quad, Shade, billboard, ground_shadow, upright

SKIN = [(0.52, 0.32, 0.22), (0.40, 0.23, 0.15), (0.18, 0.10, 0.06), (0.60, 0.40, 0.30)]
HAIR = [(0.03, 0.02, 0.015), (0.12, 0.07, 0.03), (0.35, 0.24, 0.10), (0.3, 0.3, 0.3)]
CLOTH = [
    (0.03, 0.03, 0.04), (0.05, 0.06, 0.12), (0.30, 0.04, 0.04), (0.45, 0.42, 0.36), (0.08, 0.14, 0.30),
    (0.12, 0.12, 0.12), (0.60, 0.58, 0.55), (0.10, 0.20, 0.10), (0.50, 0.30, 0.05), (0.35, 0.10, 0.20),
]  # fmt: skip


def _stroke(x: np.ndarray, y: np.ndarray, x0: float, y0: float, x1: float, y1: float, thick: float) -> np.ndarray:
    """True within thick/2 of the segment (x0, y0)-(x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    return np.hypot(x - x0 - t * dx, y - y0 - t * dy) < thick / 2


def _wear(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    pick = lambda colours: np.array(colours[int(rng.integers(len(colours)))])  # noqa: E731
    return pick(SKIN), pick(HAIR), pick(CLOTH), pick(CLOTH) * 0.7


def pedestrian(rng: np.random.Generator, x: float, z: float, eye: np.ndarray) -> list[Quad]:
    """A person who stands or walks at (x, z)."""
    height = rng.uniform(1.55, 1.9) if rng.random() < 0.9 else rng.uniform(1.1, 1.4)
    skin, hair, top, legs = _wear(rng)
    stride, swing = rng.uniform(0.0, 0.28) * height / 1.75, rng.uniform(-0.2, 0.2)
    skirt = rng.random() < 0.2
    bag = rng.random() < 0.3
    width = 0.95

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        x, y = (u - width / 2) * 1.75 / height, v * 1.75 / height
        head = np.hypot(x / 0.105, (y - 1.6) / 0.14) < 1
        torso = (np.hypot(x / 0.25, (y - 1.14) / 0.42) < 1) & (y > 0.8)
        coat = (np.abs(x) < 0.2 + (1.0 - y) * 0.12) & (y > 0.55) & (y < 1.0) if skirt else np.zeros(len(u), bool)
        left = _stroke(x, y, -0.08, 0.9, -0.09 - stride, 0.05, 0.17)
        right = _stroke(x, y, 0.08, 0.9, 0.09 + stride * 0.8, 0.05, 0.17)
        arms = _stroke(x, y, -0.23, 1.36, -0.3 - swing * 0.4, 0.85, 0.11) | _stroke(
            x, y, 0.23, 1.36, 0.3 - swing * 0.4, 0.85, 0.11
        )
        n = len(u)
        albedo = fill(n, legs) * (0.75 + 0.5 * cloud(u * 12, v * 12))[:, None]
        upper = torso | arms | coat
        paint(albedo, upper, top)
        paint(albedo, arms & ~torso, top * 0.75)
        paint(albedo, (left | right) & (y < 0.11), (0.03, 0.025, 0.02))
        paint(albedo, head, skin)
        paint(albedo, head & (y > 1.63), hair)
        solid = head | upper | left | right | _stroke(x, y, 0, 1.4, 0, 1.55, 0.12)
        if bag:
            carried = (np.abs(x - 0.3) < 0.13) & (np.abs(y - 0.8) < 0.17)
            paint(albedo, carried, top * 0.3 + 0.05)
            solid |= carried
        return Shade(PERSON, albedo, solid=solid, bend=np.clip(x * 3, -1, 1))

    return [ground_shadow(x, z, 0.0, 0.8, 0.6, 0.5), billboard(x, z, width, height, surface, eye=eye)]


def bicycle(
    rng: np.random.Generator, x: float, z: float, angle: float, *, ridden: bool, engine: bool, moving: bool = False
) -> list[Quad]:
    """A two-wheeler seen from its side: a motorcycle with `engine`, with a rider if `ridden`."""
    label = MOTORCYCLE if engine else BICYCLE
    skin, hair, top, legs = _wear(rng)
    frame = np.array(CLOTH[int(rng.integers(len(CLOTH)))]) * 1.2
    flip = -1.0 if rng.random() < 0.5 else 1.0
    width, height = (2.2, 1.85) if ridden else (2.2, 1.2)

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        x, y = flip * (u - width / 2), v
        albedo = fill(n, (0.03, 0.03, 0.03))
        emitted = np.zeros((n, 3), np.float32)
        labels = np.full(n, label, np.uint8)
        solid = np.zeros(n, bool)
        radius = 0.32 if engine else 0.35
        for hub in (-0.62, 0.62) if engine else (-0.54, 0.54):
            r = np.hypot(x - hub, y - radius)
            paint(albedo, r < radius * 0.8, (0.16, 0.16, 0.165) if not engine else (0.10, 0.10, 0.10))
            paint(albedo, r < 0.08, (0.3, 0.3, 0.3))
            solid |= r < radius
        if engine:
            hull = (np.hypot((x + 0.05) / 0.62, (y - 0.62) / 0.26) < 1) | _stroke(x, y, 0.45, 0.9, 0.62, 0.4, 0.12)
            paint(albedo, hull, frame)
            block = np.hypot(x / 0.33, (y - 0.45) / 0.2) < 1
            paint(albedo, block, (0.14, 0.14, 0.14))
            seat = _stroke(x, y, -0.65, 0.85, -0.05, 0.8, 0.16)
            paint(albedo, seat, (0.02, 0.02, 0.02))
            bars = _stroke(x, y, 0.45, 0.9, 0.3, 1.08, 0.07)
            front = np.hypot(x - 0.6, y - 0.85) < 0.1
            paint(albedo, front, (0.5, 0.5, 0.5))
            solid |= hull | block | seat | bars | front
            if moving:
                emitted += front[:, None] * HEADLIGHT * 25 + (np.hypot(x + 0.78, y - 0.78) < 0.09)[:, None] * TAIL * 5
        else:
            tubes = np.zeros(n, bool)
            for a, b, c, d in (
                (-0.54, 0.35, -0.05, 0.35), (-0.05, 0.35, 0.4, 0.8), (-0.2, 0.85, 0.4, 0.8),
                (-0.2, 0.9, -0.05, 0.35), (-0.54, 0.35, -0.2, 0.8), (0.36, 1.02, 0.54, 0.35),
            ):  # fmt: skip
                tubes |= _stroke(x, y, a, b, c, d, 0.075)
            paint(albedo, tubes, frame)
            seat = _stroke(x, y, -0.32, 0.95, -0.1, 0.95, 0.09) | _stroke(x, y, 0.36, 1.02, 0.24, 1.08, 0.06)
            paint(albedo, seat, (0.02, 0.02, 0.02))
            solid |= tubes | seat
            if moving:
                emitted += (np.hypot(x - 0.5, y - 0.85) < 0.07)[:, None] * HEADLIGHT * 12
                emitted += (np.hypot(x + 0.5, y - 0.7) < 0.06)[:, None] * TAIL * 5
        if ridden:
            shoulder = (0.1, 1.42)
            thigh = _stroke(x, y, -0.2, 1.0, 0.18, 0.78, 0.2) | _stroke(x, y, 0.18, 0.78, 0.02, 0.38, 0.15)
            torso = _stroke(x, y, -0.2, 1.02, *shoulder, 0.33)
            arm = _stroke(x, y, *shoulder, 0.33, 1.06, 0.12)
            head = np.hypot((x - 0.2) / 0.12, (y - 1.66) / 0.15) < 1
            body = thigh | torso | arm | head
            paint(albedo, body, top)
            paint(albedo, thigh, legs)
            paint(albedo, arm & ~torso, top * 0.8)
            paint(albedo, head, skin)
            paint(albedo, head & (y > 1.66), frame if engine else hair)
            labels[body] = RIDER
            solid |= body
        return Shade(labels, albedo, emitted, solid)

    return [ground_shadow(x, z, angle, 2.0, 0.6, 0.5), upright(x, z, angle, width, height, surface)]


def rider(rng: np.random.Generator, x: float, z: float, eye: np.ndarray, *, engine: bool, oncoming: bool) -> list[Quad]:
    """A rider seen from the front or from behind."""
    label = MOTORCYCLE if engine else BICYCLE
    skin, hair, top, legs = _wear(rng)
    tint = np.array(CLOTH[int(rng.integers(len(CLOTH)))])
    width, height = 0.9, rng.uniform(1.7, 1.9)

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        x, y = u - width / 2, v * 1.8 / height
        albedo = fill(n, legs)
        emitted = np.zeros((n, 3), np.float32)
        labels = np.full(n, RIDER, np.uint8)
        leg = _stroke(x, y, -0.14, 0.95, -0.19, 0.35, 0.16) | _stroke(x, y, 0.14, 0.95, 0.19, 0.45, 0.16)
        torso = (np.hypot(x / 0.26, (y - 1.2) / 0.38) < 1) & (y > 0.85)
        arm = _stroke(x, y, -0.24, 1.4, -0.34, 1.05, 0.12) | _stroke(x, y, 0.24, 1.4, 0.34, 1.05, 0.12)
        head = np.hypot(x / 0.12, (y - 1.64) / 0.15) < 1
        paint(albedo, torso | arm, top)
        paint(albedo, arm & ~torso, top * 0.8)
        paint(albedo, head, skin if oncoming else hair)
        paint(albedo, head & (y > 1.68), tint)
        if engine:
            machine = (
                (np.abs(x) < 0.11) & (y < 0.7)
                | (np.hypot(x / 0.24, (y - 0.8) / 0.25) < 1)
                | _stroke(x, y, -0.38, 1.05, 0.38, 1.05, 0.07)
            )
            paint(albedo, machine, tint)
            paint(albedo, machine & (y < 0.6), (0.02, 0.02, 0.02))
        else:
            machine = (
                (np.abs(x) < 0.055) & (y < 0.72)
                | _stroke(x, y, -0.32, 1.03, 0.32, 1.03, 0.06)
                | _stroke(x, y, 0, 0.7, 0, 1.03, 0.07)
            )
            paint(albedo, machine, (0.05, 0.05, 0.05))
        lamp = np.hypot(x, y - 0.85) < (0.11 if engine else 0.06)
        machine |= lamp
        labels[machine] = label
        paint(albedo, lamp, (0.5, 0.5, 0.5) if oncoming else (0.5, 0.03, 0.03))
        emitted += lamp[:, None] * (HEADLIGHT * (30 if engine else 12) if oncoming else TAIL * 5)
        return Shade(labels, albedo, emitted, leg | torso | arm | head | machine)

    return [ground_shadow(x, z, 0.0, 0.7, 1.6, 0.5), billboard(x, z, width, height, surface, eye=eye)]
