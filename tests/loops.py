"""LoopDA's loops at a size for tests."""

from torch import nn
from torch.nn import functional

from loopda.config import parse_section
from loopda.methods.loopda import LoopSettings


class CheapDistance(nn.Module):
    """In the place of LPIPS, which needs larger images and a second to build: squares of differences."""

    asked_for = ()

    def forward(self, images, references):
        return (functional.avg_pool2d(images, 2) - functional.avg_pool2d(references, 2)).square().mean()


def loop_settings(decoders=(), weights=(), **changes):
    """The section `loops`, with these changes to its parts and itself."""
    section = {
        "inner_loop": True,
        "outer_loop": True,
        "detach_translated": False,
        "decoders": {
            "features": "layer4",
            "width": 8,
            "residual_blocks": 1,
            "semantic_channels": 5,
            "rendering": "residual",
            "coarse_rendering": False,
            "image_kernel": 7,
            "discriminator_width": 4,
            "discriminator_scales": 1,
            "lr": 1e-3,
            "discriminator_lr": 1e-4,
            "perceptual": "lpips-alex",
            "lpips_weights": "",
        }
        | dict(decoders),
        "weights": {
            "seg": 1.25,
            "inner": 1.0,
            "outer": 2.0,
            "adv": 0.1,
            "percep": 3.0,
            "z": 0.1,
            "lpips": 0.25,
            "aux": 0.1,
            "fusion": 0.5,
        }
        | dict(weights),
    } | changes
    return parse_section(section, LoopSettings, "loops")
