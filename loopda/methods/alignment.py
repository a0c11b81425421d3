"""Adversarial alignment in the output space, which AdaptSegNet and ADVENT share."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import NonNegative, Positive, Section
from loopda.errors import ConfigError
from loopda.losses.adversarial import SOURCE, TARGET, GanLoss, domain_loss
from loopda.methods.method import Terms, frozen
from loopda.models.discriminator import MapDiscriminator
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, upsample
from loopda.training.optimizer import adam

HEADS = {"logits": "", "aux": "_aux"}  # the suffix of each head's terms in metrics.jsonl


class AlignmentSettings(Section):
    """The keys of a method that aligns the output of the main and of the auxiliary head.

    adversarial, adversarial_aux: lambda_adv of each head; 0 leaves the head out. discriminator_layers: the number of
    convolutions of stride 2.
    """

    adversarial: NonNegative
    adversarial_aux: NonNegative
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_layers: Annotated[int, Field(ge=1, le=6)]
    discriminator_lr: Positive


class OutputAlignment(nn.Module):
    """The discriminators of the output space, one for each aligned head, and their two losses.

    transform: from probabilities (N, K, H, W) to the discriminators' input of the same shape.
    """

    def __init__(
        self, settings: AlignmentSettings, *, classes: int, kind: GanLoss, transform: Callable[[Tensor], Tensor]
    ):
        super().__init__()
        self.settings, self.kind, self.transform = settings, kind, transform
        weights = {"logits": settings.adversarial, "aux": settings.adversarial_aux}
        self.weights = {head: weight for head, weight in weights.items() if weight}
        width, layers = settings.discriminator_width, settings.discriminator_layers
        self.discriminators = nn.ModuleDict(
            {head: MapDiscriminator(classes=classes, width=width, layers=layers) for head in self.weights}
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the discriminators; empty where no head is aligned."""
        if not self.weights:
            return {}
        return {"discriminators": adam([self], self.settings.discriminator_lr, betas=(0.9, 0.99))}

    def inputs(self, outputs: Outputs, size: tuple[int, int]) -> dict[str, Tensor]:
        """The discriminators' inputs by head, (N, K, *size)."""
        layers = self.settings.discriminator_layers
        if min(size) < 2**layers:
            raise ConfigError(
                f"discriminator_layers: {layers} are too many for crops of {size[1]}x{size[0]}; choose fewer, or a "
                "larger input.crop"
            )
        return {head: self.transform(head_probabilities(outputs, head, size)) for head in self.weights}

    def adversarial_loss(self, target: Mapping[str, Tensor]) -> tuple[Tensor, Terms]:
        """Sum over heads of lambda_adv * L(D(target), SOURCE), and each head's loss without its weight.

        target: the discriminators' inputs of the target domain by head. The discriminators are constant.
        """
        losses = {
            head: domain_loss(scores=frozen(discriminator)(target[head]), domain=SOURCE, kind=self.kind)
            for head, discriminator in self.discriminators.items()
        }
        total = sum(self.weights[head] * loss for head, loss in losses.items())
        return total, {f"adv_n{HEADS[head]}": loss for head, loss in losses.items()}

    def discriminator_loss(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Sum over heads of (L(D(source), SOURCE) + L(D(target), TARGET)) / 2; the inputs are constant."""
        return sum(
            domain_loss(scores=discriminator(inputs[head].detach()), domain=domain, kind=self.kind) / 2
            for head, discriminator in self.discriminators.items()
            for inputs, domain in ((source, SOURCE), (target, TARGET))
        )


def head_probabilities(outputs: Outputs, head: str, size: tuple[int, int]) -> Tensor:
    """softmax of the upsampled logits of a head ("logits", "aux"): (N, K, *size)."""
    return upsample(getattr(outputs, head), size, outputs.aligned).float().softmax(dim=1)


def needs_aux(segmenter: Segmenter, method: str, *weights: float) -> bool:
    """Whether any of the auxiliary head's `weights` is not 0; if so, ConfigError where the network has no such head."""
    needed = any(weights)
    if needed and not segmenter.network.has_aux:
        raise ConfigError(
            f"methods.{method}: the network {segmenter.section.name} has no auxiliary head; set its weights there to 0"
        )
    return needed
