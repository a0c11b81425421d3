"""Adversarial alignment of what the network says of both domains, which AdaptSegNet and ADVENT share."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Section
from loopda.errors import ConfigError
from loopda.losses.adversarial import SOURCE, TARGET, Kind, domain_loss
from loopda.methods.method import Terms, frozen
from loopda.models.discriminator import MapDiscriminator
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, upsample
from loopda.training.optimizer import adam

Weight = Annotated[float, Field(ge=0)]

HEADS = {"logits": "", "aux": "_aux"}  # how the terms of each head end


class MapAdversary(Section):
    """The keys of a method whose discriminators see maps of the main and of the auxiliary head.

    adversarial, adversarial_aux: lambda_adv of each, 0 leaves out. discriminator_layers: its convolutions of stride 2.
    """

    adversarial: Weight
    adversarial_aux: Weight
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_layers: Annotated[int, Field(ge=1, le=6)]
    discriminator_lr: Annotated[float, Field(gt=0)]


class Adversaries(nn.Module):
    """A discriminator for each head that is aligned.

    see: what they see of probabilities (N, K, H, W), such as its self-information.
    """

    def __init__(self, settings: MapAdversary, *, classes: int, kind: Kind, see: Callable[[Tensor], Tensor]):
        super().__init__()
        self.settings, self.kind, self.see = settings, kind, see
        weights = {"logits": settings.adversarial, "aux": settings.adversarial_aux}
        self.weights = {head: weight for head, weight in weights.items() if weight}
        width, layers = settings.discriminator_width, settings.discriminator_layers
        self.discriminators = nn.ModuleDict(
            {head: MapDiscriminator(classes=classes, width=width, layers=layers) for head in self.weights}
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the discriminators, where there are some."""
        if not self.weights:
            return {}
        return {"adversaries": adam([self], self.settings.discriminator_lr, betas=(0.9, 0.99))}

    def seen(self, outputs: Outputs, size: tuple[int, int]) -> dict[str, Tensor]:
        """What the discriminator of each head is shown of a batch: maps (N, K, *size)."""
        layers = self.settings.discriminator_layers
        if min(size) < 2**layers:
            raise ConfigError(
                f"discriminator_layers: {layers} are too many for crops of {size[1]}x{size[0]}; choose fewer, or a "
                "larger input.crop"
            )
        return {head: self.see(head_probabilities(outputs, head, size)) for head in self.weights}

    def fooled(self, target: Mapping[str, Tensor]) -> tuple[Tensor, Terms]:
        """sum over heads of lambda_adv times how far the target is from passing for source, and these terms.

        The discriminators are constant.
        """
        terms = {
            head: domain_loss(scores=frozen(discriminator)(target[head]), domain=SOURCE, kind=self.kind)
            for head, discriminator in self.discriminators.items()
        }
        total = sum(self.weights[head] * term for head, term in terms.items())
        return total, {f"adv_n{HEADS[head]}": term for head, term in terms.items()}

    def told_apart(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """The discriminators' own loss, the mean of both domains', summed over heads; the maps are constant."""
        return sum(
            domain_loss(scores=discriminator(maps[head].detach()), domain=domain, kind=self.kind) / 2
            for head, discriminator in self.discriminators.items()
            for maps, domain in ((source, SOURCE), (target, TARGET))
        )


def head_probabilities(outputs: Outputs, head: str, size: tuple[int, int]) -> Tensor:
    """softmax of the upsampled logits of a head ("logits", "aux"): (N, K, *size)."""
    return upsample(getattr(outputs, head), size, outputs.aligned).float().softmax(dim=1)


def needs_aux(segmenter: Segmenter, method: str, *weights: float) -> bool:
    """Whether one of `weights` of the auxiliary head is not 0; ConfigError where the network has no such head."""
    wanted = any(weights)
    if wanted and not segmenter.network.has_aux:
        raise ConfigError(
            f"methods.{method}: the network {segmenter.section.name} has no auxiliary head; set its weights there to 0"
        )
    return wanted
