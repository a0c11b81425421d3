"""Learning rates as pure functions of the step, so that a resumed run needs no scheduler state."""

from torch.optim import Optimizer


def poly(step: int, *, steps: int, power: float, warmup: int = 0) -> float:
    """The factor on the initial learning rate at `step` (1 ... steps), in (0, 1].

    ((1 - (step - 1) / steps) ^ power, the "poly" rule of DeepLab (Chen et al., 2018); power 0.9 in TridentAdapt's code.
    During the first `warmup` steps the factor also rises linearly from 1 / warmup.
    """
    factor = (1 - (step - 1) / steps) ** power
    return factor * min(1.0, step / warmup) if warmup else factor


def linear(step: int, *, steps: int, constant: float) -> float:
    """The factor on the initial learning rate at `step` (1 ... steps), in (0, 1].

    1 during the first share `constant` (in [0, 1]) of the steps, then linearly towards 0; 0.5 in CycleGAN.
    """
    left = 1 - (step - 1) / steps
    return min(1.0, left / (1 - constant)) if constant < 1 else 1.0


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` times its initial one (`initial_lr`, see training/optimizer.py)."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
