"""Facades with windows, doors and shops, gables and roofs."""

import numpy as np

from loopda.town.texture import cell, cloud, fill, paint
from loopda.town.world import BUILDING, UP, Lamp, Quad, Shade, Surface

PLASTER = [
    (0.62, 0.55, 0.42), (0.55, 0.50, 0.45), (0.66, 0.60, 0.50), (0.50, 0.36, 0.24), (0.44, 0.44, 0.42),
    (0.58, 0.46, 0.30), (0.40, 0.26, 0.19), (0.68, 0.66, 0.62), (0.45, 0.47, 0.50), (0.52, 0.42, 0.38),
    (0.36, 0.36, 0.36),
]  # fmt: skip
BRICK = [(0.30, 0.13, 0.08), (0.36, 0.18, 0.11), (0.25, 0.15, 0.11), (0.40, 0.26, 0.16)]
LIT = [(1.0, 0.62, 0.28), (1.0, 0.72, 0.42), (1.0, 0.82, 0.60), (0.85, 0.95, 1.0), (1.0, 0.55, 0.20)]


def facade(rng: np.random.Generator, width: float, height: float, *, shops: bool, style: float) -> Surface:
    """A facade of `width` x `height` metres, partly lit; `style`: 0 is plaster, 1 is brick."""
    palette = BRICK if rng.random() < style else PLASTER
    base = np.array(palette[int(rng.integers(len(palette)))])
    base = np.clip(base * rng.uniform(0.8, 1.15) * rng.uniform(0.94, 1.06, 3), 0.05, 0.8)
    salt = int(rng.integers(1000))
    storey = rng.uniform(2.9, 3.6)
    ground_floor = rng.uniform(3.4, 4.2) if shops else rng.uniform(3.0, 3.6)
    bay = width / max(1, round(width / rng.uniform(1.9, 3.4)))
    window_width = rng.uniform(0.42, 0.62)
    window_low, window_high = rng.uniform(0.2, 0.32), rng.uniform(0.78, 0.88)
    ribbon = rng.random() < 0.14  # an office building: one band of glass per storey
    frame = np.array((0.75, 0.73, 0.68)) if rng.random() < 0.6 else base * 0.6
    glass = np.array((0.10, 0.13, 0.16)) * rng.uniform(0.6, 1.8)
    lit_share = rng.choice([0.08, 0.2, 0.35, 0.5], p=[0.3, 0.35, 0.25, 0.1])
    shop_lit = rng.random() < 0.6
    trim = base * rng.uniform(0.65, 1.3)
    awning = rng.uniform(0.1, 0.6, 3) if rng.random() < 0.4 else None
    window_tone = np.array(LIT[int(rng.integers(len(LIT)))])
    shop_tone = np.array(LIT[int(rng.integers(len(LIT)))]) * rng.uniform(0.8, 2.0)

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(u)
        albedo = fill(n, base)
        albedo *= (0.86 + 0.28 * cloud(u * 6 + salt, v * 6))[:, None]
        emitted = np.zeros((n, 3), np.float32)
        above = v - ground_floor
        row = np.floor(above / storey)
        column = np.floor(u / bay)
        fu, fv = u / bay - column, above / storey - row
        upstairs = (above > 0) & (v < height - 0.7)
        sharp = np.clip(1.4 - footprint / (0.18 * bay), 0.45, 1)  # windows far away blend into the wall
        half = 0.47 if ribbon else window_width / 2
        window = upstairs & (np.abs(fu - 0.5) < half) & (fv > window_low) & (fv < window_high)
        border = (
            upstairs
            & ~window
            & (np.abs(fu - 0.5) < half + 0.045)
            & (fv > window_low - 0.05)
            & (fv < window_high + 0.04)
        )
        chance = cell(column, row, salt)
        pane = fill(n, glass) * (0.5 + 1.3 * cell(column, row, salt + 3))[:, None]
        # the upper part of a pane reflects the sky; some have curtains
        pane += (np.clip(fv - window_low, 0, 1) * 0.12)[:, None]
        curtain = (cell(column, row, salt + 5) < 0.3) & (np.abs(fu - 0.5) > half * 0.45)
        paint(pane, curtain, (0.5, 0.48, 0.44))
        if not ribbon:
            paint(pane, np.abs(fu - 0.5) < 0.02, frame)
        paint(albedo, border, frame)
        paint(albedo, upstairs & (fv < 0.06), trim)
        albedo += (pane - albedo) * (window * sharp)[:, None]
        lit = window & (chance < lit_share)
        bright = (0.25 + 1.5 * cell(column, row, salt + 9) ** 2) * np.where(curtain, 0.45, 1.0)
        emitted += (lit * bright * (0.75 + 0.5 * fv))[:, None] * window_tone
        paint(albedo, v > height - 0.45, trim)
        downstairs = (above <= 0) & (v > 0.35)
        if shops:
            inside = downstairs & (v < ground_floor - 0.8) & (np.abs(u / (2 * bay) % 1 - 0.5) < 0.44)
            paint(albedo, inside, glass * 1.3)
            goods = 0.25 * cell(u / 0.35, v / 0.45, salt + 11) + 0.75 * cloud(u * 7, v * 5 + salt)
            paint(albedo, inside * (goods > 0.6) * (v < 1.8) * 0.5, (0.35, 0.3, 0.26))
            if shop_lit:
                emitted += (inside * (0.25 + 1.3 * goods**1.5))[:, None] * shop_tone
            sign = downstairs & (v > ground_floor - 0.75) & (v < ground_floor - 0.1)
            paint(albedo, sign, trim * 0.7 if awning is None else awning)
            if shop_lit:
                letters = sign & (cell(u / 0.3, v / 2, salt + 2) > 0.55) & (np.abs(u / (4 * bay) % 1 - 0.5) < 0.3)
                emitted += letters[:, None] * shop_tone * 2.5
        else:
            door = downstairs & (v < 2.3) & (np.abs(u / (3 * bay) % 1 - 0.5) < 0.17 / bay * 1.4)
            low = downstairs & ~door & (np.abs(fu - 0.5) < window_width / 2) & (v > 1.1) & (v < 2.6)
            paint(albedo, low, glass)
            emitted += (low & (chance < lit_share * 0.7))[:, None] * window_tone * 0.6
            paint(albedo, door, (0.14, 0.09, 0.06))
            paint(albedo, v < 0.5, trim * 0.6)
        return Shade(BUILDING, albedo, emitted)

    return surface


def gable(rng: np.random.Generator) -> Surface:
    """A side wall: plaster with few windows."""
    base = np.array(PLASTER[int(rng.integers(len(PLASTER)))]) * rng.uniform(0.7, 1.0)
    salt = int(rng.integers(1000))

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        albedo = fill(len(u), base) * (0.8 + 0.4 * cloud(u * 5 + salt, v * 5))[:, None]
        column, row = np.floor(u / 3.5), np.floor((v - 1.2) / 3.2)
        window = (np.abs(u / 3.5 - column - 0.5) < 0.14) & ((v - 1.2) / 3.2 - row < 0.45) & (v > 1.2)
        window &= cell(column, row, salt) < 0.6
        paint(albedo, window, (0.12, 0.14, 0.17))
        lit = window & (cell(column, row, salt + 1) < 0.25)
        return Shade(BUILDING, albedo, lit[:, None] * np.array((0.8, 0.5, 0.22)))

    return surface


def tiles(rng: np.random.Generator) -> Surface:
    """A roof of tiles or slate."""
    base = np.array(
        ((0.33, 0.13, 0.08), (0.20, 0.12, 0.09), (0.16, 0.16, 0.17), (0.40, 0.20, 0.12))[int(rng.integers(4))]
    )

    def surface(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
        rows = 0.9 + 0.2 * (v / 0.35 % 1)
        return Shade(BUILDING, fill(len(u), base) * (rows * (0.8 + 0.4 * cloud(u * 8, v * 8)))[:, None])

    return surface


def building(
    rng: np.random.Generator, *, side: int, front: float, start: float, length: float, height: float,
    depth: float, shops: bool, style: float,
) -> tuple[list[Quad], list[Lamp]]:  # fmt: skip
    """A house at `side` -1 (left) or +1; its front is `front` metres from the middle and begins at z = `start`."""
    along = np.array([0.0, 0.0, -float(side)])
    corner = np.array([side * front, 0.0, start + length if side > 0 else start])
    quads = [Quad(corner, along, UP, length, height, facade(rng, length, height, shops=shops, style=style))]
    near = np.array([side * front if side > 0 else -front - depth, 0.0, start])
    plaster = gable(rng)
    quads.append(Quad(near, np.array([1.0, 0, 0]), UP, depth, height, plaster))
    if rng.random() < 0.6:  # a pitched roof, visible only from afar
        rise, run = rng.uniform(2.0, 3.5), 4.0
        base = np.array([side * front if side > 0 else -front - 2 * run, height, start])

        def triangle(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> Shade:
            return plaster(u, v + height, footprint)._replace(solid=v < rise * (1 - np.abs(u / run - 1)))

        quads.append(Quad(base, np.array([1.0, 0, 0]), UP, 2 * run, rise, triangle))
        slope = np.array([side * run, rise, 0.0]) / np.hypot(run, rise)
        quads.append(Quad(corner + UP * height, along, slope, length, float(np.hypot(run, rise)), tiles(rng)))
    lamps = []
    if shops and rng.random() < 0.55:
        tone = np.array(LIT[int(rng.integers(len(LIT)))]) * rng.uniform(1.0, 4.0)
        lamps.append(Lamp(np.array([side * (front - 0.6), 2.2, start + length * rng.uniform(0.3, 0.7)]), tone))
    return quads, lamps
