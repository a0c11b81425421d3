"""Strong augmentations on tensors, drawn from PyTorch's generator (which every step seeds)."""

import torch
from torch import Tensor
from torchvision.transforms import v2

from loopda.runtime.distributed import draw_share


def simclr_views(size: tuple[int, int]) -> v2.Transform:
    """SimCLR's augmentation (Chen et al., 2020, appendix A) of one image (3, H, W) to (width, height) `size`:
    random crop of 20 to 100 % and resize, flip, colour distortion of strength 1/2, grey, Gaussian blur."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size[::-1], scale=(0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            _photometric(0.4, 0.1),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.5))], 0.5),
        ]
    )


def strong(strength: float = 1.0) -> v2.Transform:
    """The student's augmentation in distillation, of one image (3, H, W): colour, blur, and cutout of one rectangle.

    strength in [0, 1] scales how far colours move and how often the others happen; at 0 images stay as they are.
    ProDA uses RandAugment and cutout; its geometric operations are left out here, because then the teacher's labels
    need no warping (ours).
    """
    return v2.Compose(
        [
            _photometric(0.4 * strength, 0.1 * strength),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.0))], 0.3 * strength),
            v2.RandomErasing(0.5 * strength, scale=(0.02, 0.15)),
        ]
    )


def photometric(colour: float, blur: float) -> v2.Transform:
    """Pretraining's augmentation of one image (3, H, W), which leaves labels as they are (ours).

    In 8 of 10 images brightness, contrast and saturation move by up to the share `colour`, and the hue by an eighth of
    it. blur: the probability of a Gaussian blur.
    """
    return v2.Compose([_photometric(colour, colour / 8), v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.0))], blur)])


def mixed_image_augmentation(colour: float, blur: float) -> v2.Transform:
    """DAFormer's augmentation of a mixed image (3, H, W): colours moved by up to `colour` in 8 of 10 images, and a
    Gaussian blur with probability `blur`, whose kernel holds the widest deviation. At 0 images stay as they are."""
    return v2.Compose([_photometric(colour, colour), v2.RandomApply([v2.GaussianBlur(9, sigma=(0.15, 1.15))], blur)])


def each(transform: v2.Transform, images: Tensor) -> Tensor:
    """Apply `transform` to every image of a batch (N, 3, H, W) in [-1, 1] with its own random numbers.

    They depend on the image's place in the batch of all processes alone.
    """
    seeds = draw_share(lambda count: torch.randint(2**62, (count,)), len(images))
    state = torch.get_rng_state()
    changed = []
    for seed, image in zip(seeds.tolist(), images, strict=True):
        torch.default_generator.manual_seed(seed)
        changed.append(transform((image + 1) / 2) * 2 - 1)
    torch.set_rng_state(state)
    return torch.stack(changed)


def _photometric(strength: float, hue: float) -> v2.Transform:
    return v2.RandomApply([v2.ColorJitter(strength, strength, strength, hue)], 0.8)
