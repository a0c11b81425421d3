"""Adversarial alignment of what the network says of both domains, which AdaptSegNet and ADVENT share."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from loopda.errors import ConfigError
from loopda.losses.adversarial import SOURCE, TARGET, Kind, domain_loss
from loopda.methods.method import frozen
from loopda.models.discriminator import MapDiscriminator
from loopda.models.pspnet import Outputs
from loopda.models.segmenter import Segmenter, upsample


class Adversaries(nn.Module):
    """A discriminator for each head that is aligned. `weights`: lambda_adv of "logits" (main) and "aux", 0 leaves out.

    see: what they see of probabilities (N, K, H, W), such as its self-information.
    """

    def __init__(
        self, weights: Mapping[str, float], *, classes: int, width: int, kind: Kind, see: Callable[[Tensor], Tensor]
    ):
        super().__init__()
        self.weights = {head: weight for head, weight in weights.items() if weight}
        self.kind, self.see = kind, see
        self.discriminators = nn.ModuleDict(
            {head: MapDiscriminator(classes=classes, width=width) for head in self.weights}
        )

    def seen(self, outputs: Outputs, size: tuple[int, int]) -> dict[str, Tensor]:
        """What the discriminator of each head is shown of a batch: maps (N, K, *size)."""
        return {head: self.see(head_probabilities(outputs, head, size)) for head in self.weights}

    def fooled(self, target: Mapping[str, Tensor]) -> Tensor:
        """sum over heads of lambda_adv times how far the target is from passing for source; constant discriminators."""
        return sum(
            weight * domain_loss(scores=frozen(self.discriminators[head])(target[head]), domain=SOURCE, kind=self.kind)
            for head, weight in self.weights.items()
        )

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
