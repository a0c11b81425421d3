"""LoopDA's inner and outer self-loops (Shen et al., WACV 2023, section 3.1), which warm-up and self-training share.

Symbols as in the paper: z = Enc(x), p = softmax(F(z)); d labelled day, n night, ud unlabelled day reference;
d2n is a day image translated to night, n2d the reverse. A term has the name of its symbol: `inner_n` is L_inner^n.
Where the paper is silent, some choices follow the public training code of its predecessor TridentAdapt.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Count, Fraction, NonNegative, Positive, Section, WholeNumber
from loopda.data.batches import DayBatch, NightBatch
from loopda.errors import DataError
from loopda.labels.fusion import fuse
from loopda.losses.adversarial import discriminator_loss, generator_loss
from loopda.losses.features import feature_consistency
from loopda.losses.reconstruction import reconstruction
from loopda.methods.method import Terms, frozen, probabilities, supervision
from loopda.models.checkpoint import load_checkpoint, save_checkpoint
from loopda.models.compute.recomputation import Memory
from loopda.models.discriminator import MultiScaleDiscriminator
from loopda.models.image_decoder import ImageDecoder
from loopda.models.perceptual import FeatureDistance, Lpips, PerceptualDistance
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, positions_by_shape
from loopda.runtime import distributed
from loopda.training.optimizer import adam
from loopda.weights.downloads import locate

Domain = Literal["day", "night"]

# the domain of the images of each symbol, which names their decoder and their discriminator
DOMAIN: dict[str, Domain] = {"d": "day", "n": "night", "ud": "day", "d2n": "night", "n2d": "day"}
TRANSLATION = {"d": "d2n", "n": "n2d"}  # the outer loops; a day reference has none
LABELLED = {"d", "d2n"}  # a translated day image keeps its labels


_NO_LPIPS_WEIGHTS = (
    "empty, but perceptual: efficientnet-lite0 reads no weights of LPIPS; to use them, set loops.decoders.perceptual "
    'to lpips-alex or lpips-vgg, else lpips_weights to ""'
)
# the same as a JSON schema, by which the Snakefile checks
_WEIGHTS_ARE_OF_LPIPS = {
    "if": {"properties": {"perceptual": {"const": "efficientnet-lite0"}}},
    "then": {"properties": {"lpips_weights": {"pattern": "^$", "description": _NO_LPIPS_WEIGHTS}}},
}


class Decoders(Section):
    """The image decoders Dec_d and Dec_n, their discriminators, their optimisers, and the distance of equation 4.

    lpips_weights: of the trunk of perceptual lpips-alex and lpips-vgg.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [_WEIGHTS_ARE_OF_LPIPS],
            "renamed": {"lpips": "perceptual: lpips-alex (for alex), lpips-vgg (for vgg) or efficientnet-lite0"},
        }
    )

    features: Literal["layer2", "layer4"]
    width: Annotated[int, Field(ge=8)]
    residual_blocks: WholeNumber
    semantic_channels: Count
    rendering: Literal["residual", "none"]
    coarse_rendering: bool
    image_kernel: Literal[3, 7]
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_scales: Annotated[int, Field(ge=1, le=5)]
    lr: Positive
    discriminator_lr: Positive
    perceptual: Literal["lpips-alex", "lpips-vgg", "efficientnet-lite0"]
    lpips_weights: str

    @model_validator(mode="after")
    def _weights_are_of_lpips(self) -> "Decoders":
        if self.perceptual == "efficientnet-lite0" and self.lpips_weights:
            raise ValueError(f"lpips_weights: {self.lpips_weights!r} is not {_NO_LPIPS_WEIGHTS}")
        return self


class LoopWeights(Section):
    """The lambdas of equation 11 (section 4.1), the two of equation 4, and two that the paper leaves open.

    aux: of the auxiliary head's cross-entropy. fusion: the weight of p in its fusion with the label (section 3.1.1).
    """

    seg: NonNegative
    inner: NonNegative
    outer: NonNegative
    adv: NonNegative
    percep: NonNegative
    z: NonNegative
    lpips: NonNegative
    aux: NonNegative
    fusion: Fraction


class LoopSettings(Section):
    """The section `loops`: which loops run and with which weights. Warm-up and self-training share it.

    detach_translated: L_seg^d2n takes x_d2n as a constant: the translation is not trained to be easy to segment.
    """

    inner_loop: bool
    outer_loop: bool
    detach_translated: bool
    decoders: Decoders
    weights: LoopWeights


class LoopOutputs(NamedTuple):
    """The loss terms by name, and by symbol the outputs of Enc and F for the images, and the translations."""

    terms: Terms
    outputs: dict[str, Outputs]
    translations: dict[str, Tensor]


def images_of(day: DayBatch, pairs: NightBatch) -> dict[str, Tensor]:
    """The images of a step by symbol: ud, d and n; without ud where no process has a day reference.

    ud comes first: self-training needs its prediction for the online label of n.
    """
    references = {"ud": pairs.references} if distributed.total(len(pairs.references)) else {}
    return references | {"d": day.images, "n": pairs.images}


def passes(x: dict[str, Tensor], memory: Memory) -> list[dict[str, Tensor]]:
    """The images of each forward and backward pass: all of x, or with `least` memory one symbol after the other.

    The gradients are the same, because no loss sends gradient to two of d, n and ud.
    """
    return [{k: images} for k, images in x.items()] if memory == "least" else [x]


class Loops(nn.Module):
    """The networks that the loops add to the segmentation network, and the loops themselves."""

    def __init__(self, settings: LoopSettings, segmenter: Segmenter):
        super().__init__()
        self.settings = settings
        section = settings.decoders
        network = segmenter.network
        shallow = section.features == "layer2"
        self.decoders = nn.ModuleDict()
        self.discriminators = nn.ModuleDict()
        for domain in ("day", "night"):
            self.decoders[domain] = ImageDecoder(
                features=network.shallow_channels if shallow else network.channels[-1],
                classes=len(segmenter.classes),
                output_stride=network.shallow_stride if shallow else network.output_stride,
                width=section.width,
                residual_blocks=section.residual_blocks,
                semantic_channels=section.semantic_channels,
                rendering=section.rendering,
                coarse_rendering=section.coarse_rendering,
                image_kernel=section.image_kernel,
                aligned=network.aligned,
            )
            self.discriminators[domain] = MultiScaleDiscriminator(
                width=section.discriminator_width, scales=section.discriminator_scales
            )
        # in a tuple, which Module does not look into: the frozen distance belongs into no checkpoint and no optimiser
        self._perceptual = (perceptual_distance(section) if settings.outer_loop else None,)
        self.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs

    @property
    def perceptual(self) -> PerceptualDistance | None:
        """The distance of equation 4, or None without an outer loop."""
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

    def forward(
        self, segmenter: Segmenter, x: Mapping[str, Tensor], y: Tensor, *, decoders_alone: bool = False
    ) -> LoopOutputs:
        """The forward pass of figure 2 for images x by symbol, some of d, n and ud; y: the labels of d.

        decoders_alone: Enc and F are constant; inner loops and translations train the decoders. A warm-up starts so,
        as in TridentAdapt's code, because the first translations are noise.
        """
        inner_loop, outer_loop, weights = self.settings.inner_loop, self.settings.outer_loop, self.settings.weights
        terms: Terms = {}

        # encode the images; source supervision (equation 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not decoders_alone):
            z = self.encode(segmenter, x)
        p = self.fused(z, y)
        if "d" in x and not decoders_alone:
            terms["seg_d"] = supervision(z["d"], y, weights.aux)

        # decode: the inner loops restore the images (equation 2), the outer loops translate them
        inner = {k: k for k in x if inner_loop}
        outer = {TRANSLATION[k]: k for k in x if outer_loop and k in TRANSLATION}
        images = self.decode(inner | outer, z, p, x)
        translations = {k: images[k] for k in outer}
        terms |= {f"inner_{k}": reconstruction(output=images[k], image=x[k]) for k in inner}
        if decoders_alone:
            terms |= {f"percep_{k}": self.similarity(images[t], x[k]) for t, k in outer.items()}
        if decoders_alone or not outer:
            return LoopOutputs(terms, z, translations)

        # encode the translations, which should keep the content of their originals (equation 4) and have the same
        # labels (equation 5)
        z_t = self.encode(segmenter, translations)
        p_t = self.fused(z_t, y)
        if "d2n" in outer:
            terms["seg_d2n"] = supervision(z_t["d2n"], y, weights.aux)
        terms |= {f"percep_{k}": self.perception(images[t], x[k], z_t[t], z[k]) for t, k in outer.items()}

        # decode: the outer loops restore the originals (equation 6)
        restored = self.decode({k: t for t, k in outer.items()}, z_t, p_t, translations)
        terms |= {f"outer_{k}": reconstruction(output=restored[k], image=x[k]) for k in restored}
        return LoopOutputs(terms, z, translations)

    def uses(self, symbol: str) -> bool:
        """Whether there is a loop for images of this symbol."""
        return self.settings.inner_loop or (self.settings.outer_loop and symbol in TRANSLATION)

    def encode(self, segmenter: Segmenter, x: Mapping[str, Tensor]) -> dict[str, Outputs]:
        """Enc and F for images by symbol, in one call for each image size; the auxiliary head for labelled images.

        Images whose logits must not send gradient back are encoded separately.
        """
        aux = {k: k in LABELLED and self.settings.weights.aux > 0 for k in x}
        separate = [k for k in x if k == "d2n" and self.settings.detach_translated]
        shared = [k for k in x if k not in separate]
        outputs = segmenter.forward_batches([x[k] for k in shared], aux=[aux[k] for k in shared])
        z = dict(zip(shared, outputs, strict=True))
        return z | {k: segmenter.with_heads_apart(x[k], aux=aux[k]) for k in separate}

    def fused(self, z: Mapping[str, Outputs], y: Tensor | None) -> dict[str, Tensor]:
        """p = softmax(F(z)) by symbol, for the decoders.

        For labelled images p is fused with y, without gradient (section 3.1.1). Otherwise p keeps its gradient, so that
        the rendering trains Enc and F (section 3.1.2).
        """
        p = {k: probabilities(outputs) for k, outputs in z.items()}
        alpha = self.settings.weights.fusion
        for k in p.keys() & LABELLED:
            p[k] = fuse(probabilities=p[k], labels=y, alpha=alpha, aligned=z[k].aligned)
        return p

    def features(self, outputs: Outputs) -> Tensor:
        """z: the features that the decoders take, shallow (layer2) or deep (layer4)."""
        return outputs.shallow if self.settings.decoders.features == "layer2" else outputs.features

    def decode(
        self, wanted: Mapping[str, str], z: Mapping[str, Outputs], p: Mapping[str, Tensor], x: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Dec(z, p) by symbol, in one call of each decoder for each image size.

        wanted: from the symbol of each output to the symbol of its input. {"d": "d"} is an inner loop, {"d2n": "d"} a
        translation, {"d": "d2n"} an outer loop's way back. x: the input images; outputs have their size. Images of
        several symbols share a call, because instance normalisation does not mix images.
        """
        names, images = list(wanted), {}
        for places in positions_by_shape([(DOMAIN[name], *x[k].shape[2:]) for name, k in wanted.items()]):
            outputs = [names[place] for place in places]
            sources = [wanted[name] for name in outputs]
            decoder, size = self.decoders[DOMAIN[outputs[0]]], x[sources[0]].shape[2:]
            features = torch.cat([self.features(z[k]) for k in sources])
            decoded = decoder(features, torch.cat([p[k] for k in sources]), size)
            images |= zip(outputs, decoded.split([len(x[k]) for k in sources]), strict=True)
        return images

    def perception(self, translated: Tensor, original: Tensor, outputs: Outputs, target: Outputs) -> Tensor:
        """Equation 4: lambda_z ||z' - z||_1 + lambda_l LPIPS(x', x); z is the layer4 feature.

        `perceptual` may put another distance in the place of LPIPS.
        """
        features = feature_consistency(translated=outputs.features, original=target.features)
        return self.settings.weights.z * features + self.similarity(translated, original)

    def similarity(self, translated: Tensor, original: Tensor) -> Tensor:
        """The second part of equation 4: lambda_l LPIPS(x', x)."""
        return self.settings.weights.lpips * self.perceptual(translated, original)

    def discriminator_loss(self, symbol: str, translated: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        """Equations 3 and 7 for the discriminators: D_n takes x_n and x_d2n, D_d takes x_d, x_ud and x_n2d.

        symbol: of the images `translated`, d2n or n2d. x: the real images of the step by symbol.
        """
        domain = DOMAIN[symbol]
        batches = [*(x[k] for k in DOMAIN if k in x and DOMAIN[k] == domain), translated.detach()]
        scores: dict[int, list[Tensor]] = {}
        for places in positions_by_shape([batch.shape[2:] for batch in batches]):
            scales = self.discriminators[domain](torch.cat([batches[place] for place in places]))
            sizes = [len(batches[place]) for place in places]
            scores |= zip(places, zip(*(scale.split(sizes) for scale in scales), strict=True), strict=True)
        *real, fake = (scores[place] for place in range(len(batches)))
        return discriminator_loss(real=real, fake=fake)

    def adversarial_loss(self, symbol: str, translated: Tensor) -> Tensor:
        """Equations 3 and 7 for the decoders: the constant discriminator should take the translation for real."""
        return generator_loss(fake=frozen(self.discriminators[DOMAIN[symbol]])(translated))

    def total(self, terms: Terms) -> Tensor:
        """The weighted sum of equation 11. The first part of a term's name is the name of its weight."""
        weights = self.settings.weights
        return torch.stack([getattr(weights, name.split("_")[0]) * term for name, term in terms.items()]).sum()


def perceptual_distance(section: Decoders) -> PerceptualDistance:
    """The distance that the section names; DataError where its weights are missing or are others."""
    if section.perceptual == "efficientnet-lite0":
        return FeatureDistance(locate("efficientnet-lite0"))
    trunk = locate(section.lpips_weights) if section.lpips_weights else None
    return Lpips("alex" if section.perceptual == "lpips-alex" else "vgg", trunk)


def save_loops(loops: Loops, path: Path, **provenance: object) -> None:
    """Write the decoders and discriminators for the next stage; `provenance` as in save_segmenter."""
    state = {key: value.cpu() for key, value in loops.state_dict().items()}
    save_checkpoint({"format": 1, "loops": state, "provenance": provenance}, path)


def load_loops(loops: Loops, path: Path) -> None:
    """Load what `save_loops` wrote into networks of the same settings; DataError where the settings differ."""
    checkpoint = load_checkpoint(path)
    try:
        loops.load_state_dict(checkpoint["loops"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: does not hold decoders and discriminators of these settings ({reason}); "
            "self_train must use the decoder settings of warmup"
        ) from None
