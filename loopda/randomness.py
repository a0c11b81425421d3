"""Random numbers as a pure function of (seed, purpose, step): no state to save or restore."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A NumPy generator for one purpose at one step (and sample); the same arguments give the same stream."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


def seed_torch(seed: int, purpose: str, step: int) -> None:
    """Seed PyTorch's generators (dropout, initialisation) for one step of one purpose."""
    import torch  # here, because the report imports this module, on machines without PyTorch

    torch.manual_seed(int(generator(seed, purpose, step).integers(2**62)))
