"""Renders a scene into a G-buffer: class, reflectance, emitted light, depth, normal. `lighting` comes after it."""

import math
from dataclasses import dataclass

import numpy as np

from loopda.town.camera import Camera
from loopda.town.world import ROAD, SIDEWALK, SKY, TERRAIN, VOID, Quad, Scene

NEAR = 0.15  # metres
FAR = 600.0


@dataclass
class GBuffer:
    """Flat arrays over the pixels, row by row. The sky has depth inf; `shade` 0..1 is the ambient light."""

    width: int
    height: int
    label: np.ndarray
    albedo: np.ndarray
    emitted: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    shade: np.ndarray
    retro: np.ndarray
    ray: np.ndarray  # (n, 3) world direction of depth 1
    eye: np.ndarray

    def position(self) -> np.ndarray:
        """World coordinates (n, 3); the sky lies at FAR."""
        return self.eye.astype(np.float32) + self.ray * np.minimum(self.depth, FAR)[:, None]


def render(scene: Scene, camera: Camera, width: int, height: int) -> GBuffer:
    """Draw the ground, then every visible quad from front to back with a depth test."""
    columns, rows = camera.rays(width, height)
    axes, eye = camera.axes(), camera.position()
    n = width * height
    ray = (
        columns[None, :, None] * axes[0].astype(np.float32)
        + rows[:, None, None] * axes[1].astype(np.float32)
        + axes[2].astype(np.float32)
    ).reshape(n, 3)
    buffer = GBuffer(
        width=width,
        height=height,
        label=np.full(n, SKY, np.uint8),
        albedo=np.zeros((n, 3), np.float32),
        emitted=np.zeros((n, 3), np.float32),
        depth=np.full(n, np.inf, np.float32),
        normal=np.zeros((n, 3), np.float32),
        shade=np.ones(n, np.float32),
        retro=np.zeros(n, np.float32),
        ray=ray,
        eye=eye,
    )
    _draw_ground(buffer, scene, camera)
    pixel = 1.0 / (camera.focal * width)
    for quad, placed in _visible(scene.quads, axes, eye, columns, rows):
        _draw_quad(buffer, quad, placed, columns, rows, pixel)
    return buffer


def draw_bonnet(buffer: GBuffer, rise: float, colour: np.ndarray) -> None:
    """Draw the bonnet of the ego vehicle at the lower edge; `rise`: its height in the middle / image height; void."""
    across = (np.arange(buffer.width, dtype=np.float32) + 0.5) / buffer.width * 2 - 1
    edge = 1 - rise * (1 - 0.55 * across**2 - 0.45 * across**8)
    down = (np.arange(buffer.height, dtype=np.float32)[:, None] + 0.5) / buffer.height
    own = np.flatnonzero(down > edge)
    across, edge, down = across[own % buffer.width], edge[own % buffer.width], down[own // buffer.width, 0]
    buffer.label[own] = VOID
    # a polished surface: bright at its far edge, where it reflects the sky, darker towards the windscreen
    shine = np.exp(-(down - edge) / (0.35 * rise))
    buffer.albedo[own] = colour * (0.5 + 0.3 * np.cos(across * 4)[:, None] ** 2) + (0.25 * shine)[:, None]
    buffer.emitted[own] = 0.0
    buffer.depth[own] = 1.2
    buffer.normal[own] = (0.0, 1.0, 0.0)
    buffer.shade[own] = 1.0
    buffer.retro[own] = 0.0


def _draw_ground(buffer: GBuffer, scene: Scene, camera: Camera) -> None:
    below = np.flatnonzero(buffer.ray[:, 1] < -camera.y / FAR)
    depth = -camera.y / buffer.ray[below, 1]
    x = camera.x + buffer.ray[below, 0] * depth
    z = camera.z + buffer.ray[below, 2] * depth
    # a pixel covers more ground along the view than across it; textures use the geometric mean
    footprint = depth / (camera.focal * buffer.width) * np.sqrt(np.maximum(depth / camera.y, 1.0))
    look = scene.ground(x, z, footprint)
    buffer.label[below] = look.label
    buffer.albedo[below] = look.albedo
    buffer.depth[below] = depth
    buffer.normal[below] = (0.0, 1.0, 0.0)


def _visible(quads: list[Quad], axes: np.ndarray, eye: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> list:
    """The quads in view that face the eye, in camera coordinates, front to back, ground shadows last."""
    if not quads:
        return []
    corner = np.array([quad.corner for quad in quads]) - eye
    along = np.array([quad.along for quad in quads])
    up = np.array([quad.up for quad in quads])
    size = np.array([(quad.width, quad.height) for quad in quads])
    outward = np.cross(up, along)
    facing = (outward * corner).sum(1) < -1e-6
    corner, along, up, normal = corner @ axes.T, along @ axes.T, up @ axes.T, outward @ axes.T
    right, top = along * size[:, :1], up * size[:, 1:]
    points = np.stack([corner, corner + right, corner + right + top, corner + top], axis=1)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    seen = facing & (z.max(1) > NEAR)
    for outside in (x < columns[0] * z, x > columns[-1] * z, y > rows[0] * z, y < rows[-1] * z):
        seen &= ~outside.all(1)
    shadows = np.array([quad.shadow for quad in quads])
    order = np.lexsort((z.min(1) + 0.3 * z.max(1), shadows))
    return [(quads[i], (corner[i], along[i], up[i], normal[i], outward[i], points[i])) for i in order if seen[i]]


def _draw_quad(buffer: GBuffer, quad: Quad, placed: tuple, columns: np.ndarray, rows: np.ndarray, pixel: float) -> None:
    corner, along, up, normal, outward, points = placed
    bounds = _bounds(points.tolist(), columns, rows)
    if bounds is None:
        return
    left, right, top, bottom = bounds
    across, upwards = columns[left:right], rows[top:bottom, None]
    # ray . normal, ray . along, ray . up are linear in column and row, so that (u, v) costs three sums
    slope = (across * normal[0] + normal[2]).astype(np.float32) + upwards * np.float32(normal[1])
    with np.errstate(divide="ignore"):
        depth = np.float32(corner @ normal) / slope
    u = depth * ((across * along[0] + along[2]).astype(np.float32) + upwards * np.float32(along[1]))
    v = depth * ((across * up[0] + up[2]).astype(np.float32) + upwards * np.float32(up[1]))
    u -= np.float32(corner @ along)
    v -= np.float32(corner @ up)
    before = buffer.depth.reshape(buffer.height, buffer.width)[top:bottom, left:right]
    inside = (u >= 0) & (u < quad.width) & (v >= 0) & (v < quad.height) & (depth > NEAR)
    inside &= np.abs(depth - before) < 0.02 * depth if quad.shadow else depth < before
    where_row, where_column = np.nonzero(inside)
    if not len(where_row):
        return
    flat = (where_row + top) * buffer.width + where_column + left
    u, v, depth = u[inside], v[inside], depth[inside]
    look = quad.surface(u, v, depth * np.float32(pixel))
    if quad.shadow:
        on_ground = np.isin(buffer.label[flat], (ROAD, SIDEWALK, TERRAIN))
        buffer.shade[flat] *= np.where(on_ground, look.albedo, 1)
        return
    keep = slice(None) if look.solid is None else look.solid
    flat = flat[keep]
    if not len(flat):
        return

    def of_kept(value: np.ndarray | float, one: int) -> np.ndarray | float:
        """The values at the kept points. A single value for all points has `one` dimensions."""
        return value[keep] if np.ndim(value) > one else value

    buffer.label[flat] = of_kept(look.label, 0)
    buffer.albedo[flat] = of_kept(look.albedo, 1)
    buffer.emitted[flat] = 0.0 if look.emitted is None else of_kept(look.emitted, 1)
    buffer.depth[flat] = depth[keep]
    if look.bend is None:
        buffer.normal[flat] = outward
    else:
        bent = outward.astype(np.float32) + look.bend[keep][:, None] * quad.along.astype(np.float32)
        buffer.normal[flat] = bent / np.linalg.norm(bent, axis=1, keepdims=True)
    buffer.shade[flat] = 1.0
    buffer.retro[flat] = of_kept(look.retro, 0)


def _bounds(points: list, columns: np.ndarray, rows: np.ndarray) -> tuple[int, int, int, int] | None:
    """First and last column and row that the quad can touch, after clipping at the near plane."""
    across, upwards = [], []
    for i, a in enumerate(points):
        b = points[(i + 1) % 4]
        if a[2] > NEAR:
            across.append(a[0] / a[2])
            upwards.append(a[1] / a[2])
        if (a[2] > NEAR) != (b[2] > NEAR):
            s = (NEAR - a[2]) / (b[2] - a[2])
            across.append((a[0] + s * (b[0] - a[0])) / NEAR)
            upwards.append((a[1] + s * (b[1] - a[1])) / NEAR)
    if not across:
        return None
    # only columns and rows whose pixel centres lie inside; the hundredth of a pixel allows for rounding
    step = float(columns[1] - columns[0])
    left = max(math.ceil((min(across) - float(columns[0])) / step - 0.01), 0)
    right = min(math.floor((max(across) - float(columns[0])) / step + 0.01) + 1, len(columns))
    top = max(math.ceil((float(rows[0]) - max(upwards)) / step - 0.01), 0)
    bottom = min(math.floor((float(rows[0]) - min(upwards)) / step + 0.01) + 1, len(rows))
    return (left, right, top, bottom) if left < right and top < bottom else None
