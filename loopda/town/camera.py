"""The pinhole camera behind the windscreen of the ego vehicle.

World axes, in metres: x to the right of the street's middle, y up from the ground, z along the street. Seen from
outside, the `along` axis of a surface points right and its `up` axis up. Its outward normal is up x along.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Position in metres; angles in radians (yaw to the right, pitch up); focal length in fractions of the image."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    focal: float  # focal length / image width
    middle: float = 0.46  # row of the optical axis / image height

    def axes(self) -> np.ndarray:
        """The axes right, up and forward in world coordinates, as rows, (3, 3)."""
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        right = np.array([cos, 0.0, -sin])
        forward = np.array([sin * np.cos(self.pitch), np.sin(self.pitch), cos * np.cos(self.pitch)])
        return np.stack([right, np.cross(forward, right), forward])

    def position(self) -> np.ndarray:
        """World coordinates, (3,)."""
        return np.array([self.x, self.y, self.z])

    def rays(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Ray directions of the pixel centres at depth 1: the rightward part per column, the upward part per row."""
        focal = self.focal * width
        columns = (np.arange(width) + 0.5 - 0.5 * width) / focal
        rows = (self.middle * height - np.arange(height) - 0.5) / focal
        return columns.astype(np.float32), rows.astype(np.float32)

    def moved(self, *, sideways: float, ahead: float, turn: float) -> "Camera":
        """This camera, moved `sideways` and `ahead` metres along the street and turned by `turn` radians."""
        return replace(self, x=self.x + sideways, z=self.z + ahead, yaw=self.yaw + turn)
