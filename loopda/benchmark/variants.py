"""The ways of computing an iteration: the plain reference, the package, and the package without each of its levers.

A lever is a piece of code that makes an iteration faster or smaller and leaves its results as they are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from loopda.benchmark import plain
from loopda.methods import loopda
from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.compute.precision import Precision
from loopda.models.compute.recomputation import Memory
from loopda.models.pspnet import PyramidPooling
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter


class Variant(NamedTuple):
    """A way of computing an iteration. plain: by the reference. without: the lever that is missing, by name, or ""."""

    name: str
    plain: bool = False
    precision: Precision = "fp32"
    without: str = ""
    memory: Memory = "fast"
    compiled: bool = False


def separately(segmenter: Segmenter, batches: Sequence[Tensor], *, aux: Sequence[bool]) -> list[Outputs]:
    """Segmenter.forward_batches without its lever: a call for each batch."""
    return [segmenter(batch, aux=needs_aux) for batch, needs_aux in zip(batches, aux, strict=True)]


def twice(segmenter: Segmenter, images: Tensor, *, aux: bool) -> Outputs:
    """Segmenter.with_heads_apart without its lever: a second call, whose images are constant, for the logits."""
    heads = segmenter(images.detach(), aux=aux)
    return segmenter(images, aux=False, logits=False)._replace(aux=heads.aux, logits=heads.logits)


def by_themselves(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """loopda.models.segmenter.positions_by_shape without its lever: nothing shares a call."""
    return [[place] for place in range(len(shapes))]


NORMALISATION = "instances normalised as groups"
UNFUSED, CONTIGUOUS = "fused optimisers", "the layout channels_last"  # the levers that Case itself leaves out
# the other levers: the object and its attribute that is one, and what replaces it
REPLACEMENTS: dict[str, tuple[Any, str, Any]] = {
    "one call of the encoder": (Segmenter, "forward_batches", separately),
    "x_d2n encoded once": (Segmenter, "with_heads_apart", twice),
    "one call of decoders and discriminators": (loopda, "positions_by_shape", by_themselves),
    "the pyramid on its regions": (PyramidPooling, "forward", plain.pyramid),
    "constant discriminators": (loopda, "frozen", lambda module: module),
    NORMALISATION: (InstanceNorm2d, "forward", plain.instance_normalisation),
}

PLAIN, FAST = Variant("plain", plain=True), Variant("loopda")
VARIANTS = (
    PLAIN,
    FAST,
    Variant("plain, bf16", plain=True, precision="bf16"),
    Variant("loopda, bf16", precision="bf16"),
)
LEVERS = (
    *(Variant(f"without {name}", without=name) for name in (*REPLACEMENTS, UNFUSED, CONTIGUOUS)),
    Variant("loopda, fp16", precision="fp16"),
    *(Variant(f"memory {memory}", memory=memory) for memory in ("balanced", "small", "least")),
    *(Variant(f"memory {memory}, bf16", precision="bf16", memory=memory) for memory in ("balanced", "small", "least")),
)

COMPILED = tuple(
    variant._replace(name=f"{variant.name}, compiled", compiled=True) for variant in VARIANTS if not variant.plain
)
