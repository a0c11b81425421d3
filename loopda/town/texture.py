"""Random textures as a function of position: a point of a surface always looks the same."""

import numpy as np

_SIZE = 256


def _fractal_noise() -> np.ndarray:
    """Periodic cloud-like noise, uniform in 0..1, shape (256, 256)."""
    spectrum = np.fft.rfft2(np.random.default_rng(19).standard_normal((_SIZE, _SIZE)))
    frequency = np.hypot(np.fft.fftfreq(_SIZE)[:, None], np.fft.rfftfreq(_SIZE)[None, :])
    frequency[0, 0] = 1.0
    field = np.fft.irfft2(spectrum / frequency**1.3, s=(_SIZE, _SIZE))
    rank = field.ravel().argsort().argsort().reshape(_SIZE, _SIZE)
    return (rank / rank.max()).astype(np.float32)


_CELLS = np.random.default_rng(7).random((_SIZE, _SIZE), dtype=np.float32)
_CLOUDS = _fractal_noise()


def cell(i: np.ndarray, j: np.ndarray, salt: int = 0) -> np.ndarray:
    """A random number 0..1 for each integer pair (i, j)."""
    i = np.floor(i).astype(np.int64)
    j = np.floor(j).astype(np.int64)
    return _CELLS[(i * 3 + salt * 57 + (j >> 8)) & 255, (j + salt * 101 + i * 7) & 255]


def cloud(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth fractal noise 0..1 with period 256 in both coordinates, finest detail about 1 (bilinear)."""
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    i, j = x0.astype(np.int64) & 255, y0.astype(np.int64) & 255
    i1, j1 = (i + 1) & 255, (j + 1) & 255
    low = _CLOUDS[j, i] * (1 - fx) + _CLOUDS[j, i1] * fx
    high = _CLOUDS[j1, i] * (1 - fx) + _CLOUDS[j1, i1] * fx
    return low * (1 - fy) + high * fy


def paint(colour: np.ndarray, where: np.ndarray, value: np.ndarray | tuple) -> None:
    """Set `colour` (n, 3) to `value` where `where` is true; a share 0..1 in `where` blends the two."""
    share = where.astype(np.float32)[:, None]
    colour += (np.asarray(value, np.float32) - colour) * share


def fill(n: int, value: np.ndarray | tuple) -> np.ndarray:
    """An (n, 3) array of one colour."""
    return np.broadcast_to(np.asarray(value, np.float32), (n, 3)).copy()
