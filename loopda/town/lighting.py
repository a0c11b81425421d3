"""Lighting of a G-buffer: the same scene by day and by night.

Radiance is linear. Its unit differs between day and night, as the exposure of a camera does: lit windows are invisible
by day, and what is far from any lamp is invisible by night. The photograph is computed from the radiance: exposure,
glow, noise, tone curve, colour cast.
"""

from dataclasses import dataclass

import numpy as np

from loopda.town.camera import Camera
from loopda.town.renderer import GBuffer
from loopda.town.texture import cloud
from loopda.town.world import LIGHT, SKY, Lamp, Scene

REACH = 32.0  # metres; beyond it a lamp adds less than the ambient light
LUMA = np.array((0.2126, 0.7152, 0.0722), np.float32)


@dataclass(frozen=True)
class Day:
    """Weather and camera of a day image. Radians; `cloudy` and `veil` 0..1; `reach`: metres of visibility."""

    azimuth: float
    height: float
    cloudy: float
    veil: float
    reach: float
    exposure: float
    tint: tuple[float, float, float]
    saturation: float
    noise: float
    drift: float


@dataclass(frozen=True)
class Night:
    """Darkness and camera of a night image. `sky`, `ambient`: radiance; `level`: the brightness of the exposure."""

    sky: tuple[float, float, float]
    ambient: tuple[float, float, float]
    headlights: float
    level: float
    gain_limit: float
    glow: float
    noise: float
    tint: tuple[float, float, float]
    wet: float
    drift: float


def sample_day(rng: np.random.Generator, *, style: str) -> Day:
    """A random day. `style`: "source" is a neutral, slightly greenish camera, "target" a vivid action camera."""
    vivid = style == "target"
    warm = rng.normal(0, 0.04)
    tint = np.array((1 + warm, 1.0, 1 - warm)) * ((1.02, 1.0, 1.0) if vivid else (0.95, 1.02, 0.96))
    return Day(
        azimuth=rng.uniform(-np.pi, np.pi),
        height=rng.uniform(0.35, 1.0),
        cloudy=float(rng.uniform(0, 0.3) if rng.random() < 0.6 else rng.uniform(0.6, 1.0)),
        veil=rng.uniform(0, 0.5),
        reach=float(np.exp(rng.uniform(np.log(220), np.log(1500)))),
        exposure=float(np.exp(rng.normal(0.1 if vivid else -0.1, 0.25))),
        tint=tuple(float(v) for v in tint),
        saturation=rng.uniform(1.0, 1.3) if vivid else rng.uniform(0.7, 1.0),
        noise=rng.uniform(0.004, 0.012),
        drift=rng.uniform(0, 200),
    )


def sample_night(rng: np.random.Generator) -> Night:
    """A random night."""
    glow = np.array((0.012, 0.010, 0.010)) * np.exp(rng.normal(0, 0.5))
    warm = rng.normal(0.03, 0.09)
    return Night(
        sky=tuple(float(v) for v in glow * rng.uniform(0.2, 1.0) * np.array((0.9, 0.95, 1.2))),
        ambient=tuple(float(v) for v in glow * np.array((1.6, 1.5, 1.35))),
        headlights=float(rng.uniform(6, 16)),
        level=float(np.exp(rng.normal(np.log(0.10), 0.35))),
        gain_limit=float(rng.uniform(5, 11)),
        glow=float(rng.uniform(0.05, 0.16)),
        noise=float(np.exp(rng.normal(np.log(0.012), 0.35))),
        tint=(float(1 + warm), 1.0, float(1 - 1.4 * warm)),
        wet=float(rng.uniform(0.25, 0.6) if rng.random() < 0.3 else 0.0),
        drift=float(rng.uniform(0, 200)),
    )


def light_by_day(buffer: GBuffer, scene: Scene, day: Day) -> np.ndarray:
    """Linear radiance (n, 3) of every pixel; the sky is bright."""
    sun = np.array(
        (np.sin(day.azimuth) * np.cos(day.height), np.sin(day.height), np.cos(day.azimuth) * np.cos(day.height))
    )
    low = np.clip(1.0 - day.height, 0, 1)
    sun_colour = np.array((1.0, 0.93 - 0.12 * low, 0.82 - 0.3 * low)) * 1.7 * (1 - day.cloudy) ** 1.5
    sky_colour = (
        np.array((0.62, 0.72, 0.88)) * (1 - day.cloudy) * 0.55 + np.array((0.82, 0.85, 0.88)) * day.cloudy * 0.8
    )
    reached = np.clip(buffer.normal @ sun.astype(np.float32), 0, 1)
    if day.cloudy < 0.95:
        reached *= ~_sun_blocked(buffer, scene, sun)
    up = 0.6 + 0.4 * buffer.normal[:, 1]
    light = reached[:, None] * sun_colour.astype(np.float32) * (0.35 + 0.65 * buffer.shade)[:, None]
    light += (up * buffer.shade)[:, None] * sky_colour.astype(np.float32)
    light += ((1 - up) * 0.18)[:, None] * (sun_colour + sky_colour).astype(np.float32)
    radiance = buffer.albedo * light + buffer.emitted * np.where(buffer.label == LIGHT, 0.05, 0.004)[:, None]
    haze = np.array((0.72, 0.78, 0.86)) * (0.75 + 0.25 * day.cloudy)
    through = np.exp(-np.minimum(buffer.depth, 600) / day.reach)[:, None]
    radiance = radiance * through + haze.astype(np.float32) * (1 - through)
    sky = buffer.label == SKY
    ray = buffer.ray[sky]
    rise = np.clip(ray[:, 1] / np.linalg.norm(ray, axis=1), 0.01, 1)
    blue = (
        np.array((0.22, 0.42, 0.80)) * (1 - rise[:, None]) ** 0.5
        + np.array((0.6, 0.62, 0.6)) * np.exp(-rise * 6)[:, None]
    )
    puffs = cloud(ray[:, 0] / rise * 9 + day.drift, ray[:, 2] / rise * 9)
    cover = np.clip((puffs - (0.75 - 0.8 * day.cloudy)) * 3, 0, 1)[:, None]
    white = (0.82 + 0.35 * cloud(ray[:, 0] / rise * 25, ray[:, 2] / rise * 25 + day.drift))[:, None] * np.array(
        (0.94, 0.97, 1.0)
    )
    radiance[sky] = (blue * (1 - cover) + white * cover) * (1 - 0.3 * day.veil) + haze * 0.3 * day.veil
    return radiance


def _sun_blocked(buffer: GBuffer, scene: Scene, sun: np.ndarray) -> np.ndarray:
    """True in the shadow of the houses: the ray to the sun meets the plane of the facades below the roof."""
    side = int(sun[0] > 0)
    heights = scene.skyline[side]
    if not len(heights) or abs(sun[0]) < 0.02:
        return np.zeros(len(buffer.label), bool)
    position = buffer.position()
    plane = scene.facade_at[side] * (1 if side else -1)
    way = (plane - position[:, 0]) / np.float32(sun[0])
    z = position[:, 2] + way * np.float32(sun[2])
    y = position[:, 1] + way * np.float32(sun[1])
    metre = np.clip(z.astype(np.int64) - scene.first_metre, 0, len(heights) - 1)
    return (way > 0.4) & (y < heights[metre]) & (buffer.label != SKY)


def light_by_night(buffer: GBuffer, scene: Scene, camera: Camera, night: Night) -> np.ndarray:
    """Linear radiance (n, 3): lamps, other cars, the ego vehicle's headlights, lit windows; the sky is black."""
    ambient = np.array(night.ambient, np.float32)
    light = _from_lamps(scene.lamps, buffer, camera) + buffer.shade[:, None] * ambient
    beam = _headlights(buffer, camera) * np.float32(night.headlights)
    tone = np.array((1.0, 0.95, 0.82), np.float32)
    facing = np.clip(-(buffer.normal * buffer.ray).sum(1) / np.linalg.norm(buffer.ray, axis=1), 0.03, 1)
    light += (beam * (0.35 + 0.65 * facing) * (0.4 + 0.6 * buffer.shade))[:, None] * tone
    radiance = buffer.albedo * light + buffer.emitted
    radiance += (buffer.retro * beam * 2.2)[:, None] * buffer.albedo * tone
    sky = buffer.label == SKY
    ray = buffer.ray[sky]
    rise = np.clip(ray[:, 1] / np.linalg.norm(ray, axis=1), 0, 1)
    clouds = cloud(ray[:, 0] / (rise + 0.1) * 9 + night.drift, ray[:, 2] / (rise + 0.1) * 9)
    radiance[sky] = (np.exp(-rise * 5) * (0.6 + 0.8 * clouds))[:, None] * np.array(night.sky, np.float32)
    if night.wet:
        _mirror(buffer, camera, radiance, night.wet)
    return radiance


def _from_lamps(lamps: list[Lamp], buffer: GBuffer, camera: Camera) -> np.ndarray:
    """Irradiance (n, 3) of all lamps: inverse square, cosine of incidence (and a little from behind).

    The light of a lamp ends at REACH metres, so only pixels of about the same depth are computed.
    """
    order = np.argsort(buffer.depth)
    depth = buffer.depth[order]
    position = np.ascontiguousarray(buffer.position()[order].T)
    normal = np.ascontiguousarray(buffer.normal[order].T)
    light = np.zeros_like(position)
    forward, eye = camera.axes()[2], camera.position()
    for lamp in lamps:
        away = float((lamp.place - eye) @ forward)
        first, last = np.searchsorted(depth, (away - REACH, away + REACH))
        if first == last or np.isinf(depth[first]):
            continue
        near = slice(int(first), int(last))
        x, y, z = (np.float32(lamp.place[i]) - position[i, near] for i in range(3))
        square = x * x + y * y + z * z + np.float32(0.3)
        distance = np.sqrt(square)
        incidence = (x * normal[0, near] + y * normal[1, near] + z * normal[2, near]) / distance
        strength = np.maximum(incidence, np.float32(0.06)) / square
        strength *= np.maximum(1 - square / np.float32(REACH**2), 0)
        if lamp.aim is not None:
            aim = lamp.aim.astype(np.float32)
            cosine = -(x * aim[0] + y * aim[1] + z * aim[2]) / distance
            strength *= np.clip((cosine - np.float32(lamp.edge)) / np.float32(1 - lamp.edge), 0.0, 1) ** 2
        for i in range(3):
            light[i, near] += strength * np.float32(lamp.colour[i])
    result = np.empty((len(order), 3), np.float32)
    result[order] = light.T
    return result


def _headlights(buffer: GBuffer, camera: Camera) -> np.ndarray:
    """The ego vehicle's low beam: a wide cone ahead, cut off above the bonnet, weaker with distance."""
    sideways = buffer.ray @ camera.axes()[0].astype(np.float32)
    depth = np.minimum(buffer.depth, 600)
    height = buffer.eye[1] + buffer.ray[:, 1] * depth - 0.65
    cut = 1 / (1 + np.exp(np.clip((height / np.maximum(depth, 1) - 0.02) * 60, -30, 30)))
    return (0.04 + 0.96 * cut) * np.exp(-((sideways / 0.55) ** 2)) / (1.0 + (depth / 7.0) ** 2) * 0.22


def _mirror(buffer: GBuffer, camera: Camera, radiance: np.ndarray, wet: float) -> None:
    """The reflection in a wet road: what is above the horizon, upside down and blurred vertically."""
    height, width = buffer.height, buffer.width
    image = np.minimum(radiance, 8.0).reshape(height, width, 3)
    horizon = camera.middle * height + np.tan(camera.pitch) * camera.focal * width
    rows = np.clip((2 * horizon - np.arange(height)).astype(int), 0, height - 1)
    reach = max(height // 9, 2)
    for _ in range(2):  # two box filters make a soft streak
        total = np.concatenate([np.zeros((1, width, 3)), np.cumsum(image, axis=0, dtype=np.float64)])
        first, last = np.maximum(np.arange(height) - reach, 0), np.minimum(np.arange(height) + reach, height)
        image = (total[last] - total[first]) / (last - first)[:, None, None]
    ripple = 0.55 + 0.9 * cloud(buffer.position()[:, 0] * 2, buffer.position()[:, 2] * 2)
    smear = image[rows].astype(np.float32).reshape(-1, 3) * ripple[:, None]
    on_ground = buffer.label <= 1
    grazing = np.clip(1 - np.abs(buffer.ray[:, 1]) * 1.2, 0.15, 1) * wet
    radiance[on_ground] *= 1 - 0.4 * wet
    radiance[on_ground] += smear[on_ground] * grazing[on_ground, None]


def photograph_day(radiance: np.ndarray, day: Day, rng: np.random.Generator) -> np.ndarray:
    """Radiance (h, w, 3) to 8-bit sRGB."""
    brightness = radiance @ LUMA
    gain = 0.27 / max(float(np.mean(np.minimum(brightness, 1.0))), 0.02) * day.exposure
    image = radiance * np.float32(gain) * np.array(day.tint, np.float32)
    image = _glow(image, 0.04, limit=4.0)
    grey = (image @ LUMA)[..., None]
    image = np.maximum(grey + (image - grey) * np.float32(day.saturation), 0)
    image = 1 - np.exp(-1.35 * image)
    image = image ** np.float32(1 / 1.9)
    image = image + 0.35 * (image - 0.5) * image * (1 - image) * 2  # the toe and shoulder of a tone curve
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(day.noise)
    return _to_bytes(image)


def photograph_night(radiance: np.ndarray, night: Night, rng: np.random.Generator) -> np.ndarray:
    """Radiance (h, w, 3) to 8-bit sRGB: the darker the street, the higher the gain and the noise."""
    brightness = np.minimum(radiance @ LUMA, 1.5)
    gain = min(night.level / max(float(np.mean(brightness)), 1e-3), night.gain_limit)
    image = _glow(radiance, night.glow, limit=60.0)
    image = image * np.float32(gain) * np.array(night.tint, np.float32)
    spread = np.sqrt(np.maximum(image, 0) * night.noise * 0.12 + night.noise**2) * np.float32(0.3 + 0.7 * gain / 4)
    h, w = image.shape[:2]
    grain = rng.standard_normal((h, w, 3), dtype=np.float32) * 0.8 + rng.standard_normal((h, w, 1), dtype=np.float32)
    # the noise reduction of cameras leaves coloured blotches in dark images
    blotch = rng.standard_normal((h // 4 + 1, w // 4 + 1, 3), dtype=np.float32).repeat(4, 0).repeat(4, 1)[:h, :w]
    image = image + spread * (grain * 0.7 + blotch * 0.35)
    image = np.maximum(image - 0.004, 0)
    image = 1 - np.exp(-1.5 * image)
    return _to_bytes(image ** np.float32(1 / 2.05))


def _glow(image: np.ndarray, share: float, *, limit: float) -> np.ndarray:
    """Spread `share` of the light of every pixel: the point spread function of a lens, a narrow core and wide tails."""
    height, width = image.shape[:2]
    bright = np.minimum(image, limit)
    pad_h, pad_w = height // 2, width // 2
    fy = np.fft.fftfreq(height + pad_h)[:, None] * width
    fx = np.fft.rfftfreq(width + pad_w)[None, :] * width
    square = (fx**2 + fy**2).astype(np.float32)
    # transfer function of a sum of Gaussians with sigmas in fractions of the image width
    transfer = sum(
        part * np.exp(-2 * np.pi**2 * s**2 * square) for part, s in ((0.5, 0.006), (0.32, 0.022), (0.18, 0.08))
    )
    spread = np.empty_like(image)
    for channel in range(3):
        spectrum = np.fft.rfft2(bright[..., channel], s=(height + pad_h, width + pad_w))
        spread[..., channel] = np.fft.irfft2(spectrum * transfer, s=(height + pad_h, width + pad_w))[:height, :width]
    return image * np.float32(1 - share) + np.maximum(spread, 0) * np.float32(share)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
