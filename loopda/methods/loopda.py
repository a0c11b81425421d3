"""LoopDA's inner and outer self-loops (Shen et al., WACV 2023, section 3.1), which warm-up and self-training share.

Symbols as in the paper: z = Enc(x), p = softmax(F(z)); d labelled day, n night, ud unlabelled day reference;
d2n is a day image translated to night, n2d the reverse. Every term's name is its symbol: `inner_n` is L_inner^n.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda import distributed
from loopda.config import Section
from loopda.data.batches import DayBatch
from loopda.downloads import locate
from loopda.errors import DataError
from loopda.labels.fusion import fuse
from loopda.losses.adversarial import discriminator_loss, generator_loss
from loopda.losses.reconstruction import feature_consistency, reconstruction
from loopda.methods.lockstep import Loop, lockstep
from loopda.methods.method import Terms, frozen, probabilities, supervision
from loopda.models.discriminator import MultiScaleDiscriminator
from loopda.models.perceptual import PerceptualDistance
from loopda.models.pspnet import Outputs
from loopda.models.renderer import ImageDecoder
from loopda.models.segmenter import Segmenter, alike, load_checkpoint, save_checkpoint
from loopda.training.optimizer import adam

Weight = Annotated[float, Field(ge=0)]
Side = Literal["day", "night"]


class Decoders(Section):
    """The image decoders Dec_d and Dec_n, their discriminators, and their optimisers."""

    features: Literal["layer2", "layer4"]
    width: Annotated[int, Field(ge=8)]
    residual_blocks: Annotated[int, Field(ge=0)]
    semantic_channels: Annotated[int, Field(ge=1)]
    rendering: Literal["residual", "none"]
    coarse_rendering: bool
    image_kernel: Literal[3, 7]
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_scales: Annotated[int, Field(ge=1, le=5)]
    lr: Annotated[float, Field(gt=0)]
    discriminator_lr: Annotated[float, Field(gt=0)]
    lpips: Literal["alex", "vgg"]
    lpips_weights: str


class Weights(Section):
    """The lambdas of equation 11 (section 4.1), the two inside equation 4, and two that the paper leaves open."""

    seg: Weight
    inner: Weight
    outer: Weight
    adv: Weight
    percep: Weight
    z: Weight
    lpips: Weight
    aux: Weight
    fusion: Annotated[float, Field(ge=0, le=1)]


class LoopSettings(Section):
    """The section `loops`: which loops run and with which weights. Warm-up and self-training share it.

    detach_translated: L_seg^d2n sees x_d2n as a constant: the translation learns from its adversary, its similarity and
    the loop that it is part of, but not to be easy to segment.
    """

    inner_loop: bool
    outer_loop: bool
    detach_translated: bool
    decoders: Decoders
    weights: Weights


class Translation(NamedTuple):
    """Images that should pass for those of another time of day: `side` says which, `name` (d2n) names them."""

    name: str
    side: Side
    images: Tensor


class Looped(NamedTuple):
    """What comes out of the loops of d, n or ud: their terms, what Enc and F say of the images, and their translation,
    if there is an outer loop for them."""

    of: Literal["d", "n", "ud"]
    terms: Terms
    outputs: Outputs
    translation: Translation | None = None


class Encode(NamedTuple):
    """A loop asks for Enc and F on `images`. apart: these are to get no gradient from the logits."""

    images: Tensor
    aux: bool = False
    apart: bool = False


class Decode(NamedTuple):
    """A loop asks for Dec_side(z, p) at the size of the image `like`."""

    side: Side
    outputs: Outputs
    p: Tensor
    like: Tensor


Request = Encode | Decode


class Loops(nn.Module):
    """The networks that the loops add to the segmentation network, and the loops themselves.

    While `alone` is set, Enc and F are constant and only decoders and discriminators learn, from the inner loops and
    the translations: the start of a warm-up, in the lineage's training too, for re-encoding noise teaches nothing.
    While `one_by_one` is, the loops run one after the other, each with a backward pass of its own, for less memory. No
    loss knows two of them, so that the gradients are the same.
    """

    def __init__(self, settings: LoopSettings, segmenter: Segmenter):
        super().__init__()
        self.settings = settings
        section = settings.decoders
        network = segmenter.network
        self.decoders = nn.ModuleDict()
        self.discriminators = nn.ModuleDict()
        for side in ("day", "night"):
            self.decoders[side] = ImageDecoder(
                features=network.shallow_channels if section.features == "layer2" else network.channels[-1],
                classes=len(segmenter.classes),
                output_stride=network.output_stride,
                width=section.width,
                residual_blocks=section.residual_blocks,
                semantic_channels=section.semantic_channels,
                rendering=section.rendering,
                coarse_rendering=section.coarse_rendering,
                image_kernel=section.image_kernel,
                aligned=network.aligned,
            )
            self.discriminators[side] = MultiScaleDiscriminator(
                width=section.discriminator_width, scales=section.discriminator_scales
            )
        trunk = locate(section.lpips_weights) if section.lpips_weights and settings.outer_loop else None
        perceptual = PerceptualDistance(section.lpips, trunk) if settings.outer_loop else None
        self.alone = False
        self.one_by_one = False
        # in a tuple, unseen by Module: a frozen distance belongs neither into the checkpoint nor to the optimisers
        self._perceptual = (perceptual,)
        self.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs

    @property
    def perceptual(self) -> PerceptualDistance | None:
        """LPIPS, or None without an outer loop."""
        return self._perceptual[0]

    def to(self, *args: object, **kwargs: object) -> "Loops":
        if self.perceptual is not None:
            self.perceptual.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the decoders and Adam for the discriminators."""
        section = self.settings.decoders
        return {
            "decoders": adam(self.decoders.values(), section.lr),
            "discriminators": adam(self.discriminators.values(), section.discriminator_lr),
        }

    def run(self, segmenter: Segmenter, *loops: Loop[Request, Looped]) -> Iterator[list[Looped]]:
        """The results of `reference`, `day` and `night`, in one turn or in several.

        In one they advance side by side, so that their images share the calls; while `one_by_one`, each has a turn of
        its own, which begins when the results of the one before have been used.
        """
        turns = [[loop] for loop in loops] if self.one_by_one else [loops]
        for turn in turns:
            yield lockstep(partial(self._answers, segmenter), *turn)

    def day(self, batch: DayBatch) -> Loop[Request, Looped]:
        """The labelled day's loops (figure 2(a), equations 1-6)."""
        x, y = batch.images, batch.labels
        weights = self.settings.weights
        (outputs,) = yield [Encode(x, aux=weights.aux > 0)]
        terms = {} if self.alone else {"seg_d": supervision(outputs, y, weights.aux)}
        p = self.fused(outputs, y)  # without gradient
        inner, x_d2n = yield from self._inner_and_translation("day", "night", outputs, p, x)
        if inner is not None:
            terms["inner_d"] = reconstruction(output=inner, image=x)
        if x_d2n is None:
            return Looped("d", terms, outputs)
        if self.alone:
            terms["percep_d"] = self.similarity(x_d2n, x)
            return Looped("d", terms, outputs, Translation("d2n", "night", x_d2n))
        (translated,) = yield [Encode(x_d2n, aux=weights.aux > 0, apart=self.settings.detach_translated)]
        terms["seg_d2n"] = supervision(translated, y, weights.aux)
        terms["percep_d"] = self.perception(x_d2n, x, translated, outputs)
        p_d2n = self.fused(translated, y)
        (outer,) = yield [Decode("day", translated, p_d2n, x)]
        terms["outer_d"] = reconstruction(output=outer, image=x)
        return Looped("d", terms, outputs, Translation("d2n", "night", x_d2n))

    def night(self, x: Tensor) -> Loop[Request, Looped]:
        """The night's loops (figure 2(b)): p_n and p_n2d keep their gradient, so rendering reaches Enc and F."""
        (outputs,) = yield [Encode(x)]
        p = probabilities(outputs)
        terms: Terms = {}
        inner, x_n2d = yield from self._inner_and_translation("night", "day", outputs, p, x)
        if inner is not None:
            terms["inner_n"] = reconstruction(output=inner, image=x)
        if x_n2d is None:
            return Looped("n", terms, outputs)
        if self.alone:
            terms["percep_n"] = self.similarity(x_n2d, x)
            return Looped("n", terms, outputs, Translation("n2d", "day", x_n2d))
        (translated,) = yield [Encode(x_n2d)]
        terms["percep_n"] = self.perception(x_n2d, x, translated, outputs)
        (outer,) = yield [Decode("night", translated, probabilities(translated), x)]
        terms["outer_n"] = reconstruction(output=outer, image=x)
        return Looped("n", terms, outputs, Translation("n2d", "day", x_n2d))

    def reference(self, x: Tensor) -> Loop[Request, Looped]:
        """The day reference's inner loop (figure 2(c)); it has no outer loop and no adversarial term."""
        (outputs,) = yield [Encode(x)]
        if not self.settings.inner_loop:
            return Looped("ud", {}, outputs)
        (inner,) = yield [Decode("day", outputs, probabilities(outputs), x)]
        return Looped("ud", {"inner_ud": reconstruction(output=inner, image=x)}, outputs)

    def _inner_and_translation(
        self, side: Side, other: Side, outputs: Outputs, p: Tensor, x: Tensor
    ) -> Loop[Request, tuple[Tensor | None, Tensor | None]]:
        """Dec_side(z, p) of the inner loop and Dec_other(z, p) of the outer one, None where there is no such loop."""
        wanted = {side: self.settings.inner_loop, other: self.settings.outer_loop}
        decoded = yield [Decode(name, outputs, p, x) for name, there in wanted.items() if there]
        images = iter(decoded)
        return tuple(next(images) if there else None for there in wanted.values())

    def fused(self, outputs: Outputs, y: Tensor) -> Tensor:
        """What rendering sees of labelled images: p and y, fused (section 3.1.1)."""
        p, alpha = probabilities(outputs), self.settings.weights.fusion
        return fuse(probabilities=p, labels=y, alpha=alpha, aligned=outputs.aligned)

    def decode(self, side: Side, outputs: Outputs, p: Tensor, like: Tensor) -> Tensor:
        """Dec_side(z, p) at the size of the image `like`."""
        return self._decode(side, [Decode(side, outputs, p, like)])[0]

    def perception(self, translated: Tensor, original: Tensor, outputs: Outputs, target: Outputs) -> Tensor:
        """Equation 4: lambda_z ||z' - z||_1 + lambda_l LPIPS(x', x); z is the layer4 feature."""
        features = feature_consistency(translated=outputs.features, original=target.features)
        return self.settings.weights.z * features + self.similarity(translated, original)

    def similarity(self, translated: Tensor, original: Tensor) -> Tensor:
        """The second part of equation 4: lambda_l LPIPS(x', x)."""
        return self.settings.weights.lpips * self.perceptual(translated, original)

    def discriminate(self, translation: Translation, day: Tensor, night: Tensor, references: Tensor) -> Tensor:
        """Equations 3 and 7 as a discriminator's loss: D_n sees x_n and x_d2n, D_d sees x_d, x_ud and x_n2d."""
        real = {"night": [night], "day": [day, references] if distributed.total(len(references)) else [day]}
        return self._told_apart(translation.side, real=real[translation.side], fake=translation.images)

    def alignment(self, translation: Translation) -> Terms:
        """Equations 3 and 7 as the translation's loss: it should pass for real. The discriminator is constant."""
        judged = frozen(self.discriminators[translation.side])(translation.images)
        return {f"adv_{translation.name}": generator_loss(fake=judged)}

    def total(self, terms: Terms) -> Tensor:
        """The weighted sum of equation 11. A term's family is the first part of its name."""
        weights = self.settings.weights
        return torch.stack([getattr(weights, name.split("_")[0]) * term for name, term in terms.items()]).sum()

    def _answers(self, segmenter: Segmenter, requests: Sequence[Request]) -> list[Outputs | Tensor]:
        """Each network is called as few times as the images' sizes allow; Enc and F without a graph while `alone`."""
        kinds: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            kinds.setdefault(request.side if isinstance(request, Decode) else "encoder", []).append(place)
        answers: dict[int, Outputs | Tensor] = {}
        for kind, places in kinds.items():
            asked = [requests[place] for place in places]
            answered = self._encode(segmenter, asked) if kind == "encoder" else self._decode(kind, asked)
            answers |= zip(places, answered, strict=True)
        return [answers[place] for place in range(len(requests))]

    def _encode(self, segmenter: Segmenter, requests: Sequence[Encode]) -> list[Outputs]:
        """What goes back apart has a call of its own, for its images' gradient takes a way of its own."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.alone):
            shared = [asked for asked in requests if not asked.apart]
            together = segmenter.together([a.images for a in shared], aux=[a.aux for a in shared])
            answers = iter(together)
            return [
                segmenter.with_heads_apart(asked.images, aux=asked.aux) if asked.apart else next(answers)
                for asked in requests
            ]

    def _decode(self, side: Side, requests: Sequence[Decode]) -> list[Tensor]:
        """Instance normalisation knows no other image, so that the images of all domains may share a call."""
        shallow = self.settings.decoders.features == "layer2"
        features = [asked.outputs.shallow if shallow else asked.outputs.features for asked in requests]
        images: dict[int, Tensor] = {}
        for places in alike([asked.like.shape[2:] for asked in requests]):
            z, p = (torch.cat([values[place] for place in places]) for values in (features, [a.p for a in requests]))
            decoded = self.decoders[side](z, p, requests[places[0]].like.shape[2:])
            images |= zip(places, decoded.split([len(features[place]) for place in places]), strict=True)
        return [images[place] for place in range(len(requests))]

    def _told_apart(self, side: Side, *, real: Sequence[Tensor], fake: Tensor) -> Tensor:
        """The loss of D_side, whose images share the calls too."""
        batches = [*real, fake.detach()]
        scores: dict[int, list[Tensor]] = {}
        for places in alike([batch.shape[2:] for batch in batches]):
            scales = self.discriminators[side](torch.cat([batches[place] for place in places]))
            sizes = [len(batches[place]) for place in places]
            scores |= zip(places, zip(*(scale.split(sizes) for scale in scales), strict=True), strict=True)
        return discriminator_loss(real=[scores[place] for place in range(len(real))], fake=scores[len(real)])


def save_loops(loops: Loops, path: Path, **provenance: object) -> None:
    """Write the decoders and discriminators for the stage that goes on; `provenance` as in save_segmenter."""
    state = {key: value.cpu() for key, value in loops.state_dict().items()}
    save_checkpoint({"format": 1, "loops": state, "provenance": provenance}, path)


def load_loops(loops: Loops, path: Path) -> None:
    """Load what `save_loops` wrote into networks of the same settings; DataError when they differ."""
    checkpoint = load_checkpoint(path)
    try:
        loops.load_state_dict(checkpoint["loops"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: does not hold decoders and discriminators of these settings ({reason}); "
            "self_train must use the decoder settings of warmup"
        ) from None
