"""What is measured: an iteration of warm-up or self-training, at the town's or the paper's scale, in several ways."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, Optimizer

from loopda.benchmark import plain
from loopda.config import Section, parse_section
from loopda.data.batches import AnyBatch, DayBatch, NightBatch
from loopda.errors import ConfigError
from loopda.labels import agreement
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.methods import loopda
from loopda.methods.loopda import Loops
from loopda.methods.method import Terms
from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.compute.precision import Precision, computing_in
from loopda.models.compute.recomputation import Memory, recompute
from loopda.models.pspnet import PyramidPooling
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Network, Segmenter
from loopda.pipeline import experiments
from loopda.stages import self_train, warmup
from loopda.text.strict_yaml import read_mapping
from loopda.training.loop import Training
from loopda.training.optimizer import descend, descent, segmenter_optimizer

Scale = Literal["town", "paper"]
Stage = Literal["warmup", "self_train"]

# each scale: the experiment, and the file over config.yaml that has it
SCALES: dict[str, tuple[str, str | None]] = {"town": ("loopda", None), "paper": ("paper", "workflow/config/paper.yaml")}
STAGES = {"warmup": warmup, "self_train": self_train}


class Variant(NamedTuple):
    """A way of computing an iteration. plain: by the reference. without: the name of a lever, as in LEVERS, or ""."""

    name: str
    plain: bool = False
    precision: Precision = "fp32"
    without: str = ""
    memory: Memory = "fast"
    compiled: bool = False


def separately(segmenter: Segmenter, batches: Sequence[Tensor], *, aux: Sequence[bool]) -> list[Outputs]:
    """Segmenter.together without its lever: a call for each batch."""
    return [segmenter(batch, aux=asks) for batch, asks in zip(batches, aux, strict=True)]


def twice(segmenter: Segmenter, images: Tensor, *, aux: bool) -> Outputs:
    """Segmenter.with_heads_apart without its lever: a second call, whose images are constant, for the logits."""
    heads = segmenter(images.detach(), aux=aux)
    return segmenter(images, aux=False, logits=False)._replace(aux=heads.aux, logits=heads.logits)


def by_themselves(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """loopda.models.segmenter.positions_by_shape without its lever: nothing shares a call."""
    return [[place] for place in range(len(shapes))]


NORMALISATION = "instances normalised as groups"
# what the package does faster than the reference: the place in the code, and what stands there without it
PATCHES: dict[str, tuple[Any, str, Any]] = {
    "one call of the encoder": (Segmenter, "together", separately),
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
    *(Variant(f"without {name}", without=name) for name in (*PATCHES, "fused optimisers", "the layout channels_last")),
    Variant("loopda, fp16", precision="fp16"),
    *(Variant(f"memory {memory}", memory=memory) for memory in ("balanced", "small", "least")),
    *(Variant(f"memory {memory}, bf16", precision="bf16", memory=memory) for memory in ("balanced", "small", "least")),
)

COMPILED = tuple(
    variant._replace(name=f"{variant.name}, compiled", compiled=True) for variant in VARIANTS if not variant.plain
)


class OneStep:
    """In the place of a `Training`, has the loop of a stage make one step, unguarded, of which nothing is saved.

    step: its number. recorded: what it records.
    """

    descent = staticmethod(descent)
    descend = staticmethod(descend)

    def __init__(self, step: int):
        self.step = step
        self.recorded: Terms = {}

    def over(self, make: Callable[[int], AnyBatch]) -> Iterator[tuple[int, AnyBatch]]:
        """The step and its batch."""
        yield self.step, make(self.step)

    def record(self, **values: Tensor) -> None:
        """As Training.record."""
        self.recorded |= values


class Case:
    """The networks, optimisers and batches of one iteration, with random weights, images and labels.

    config: the section of the stage in the files of this checkout. On the device "meta" nothing is computed, but every
    operation is there to be counted; in 16 bits, see `imagined`.
    """

    def __init__(self, scale: Scale, stage: Stage, variant: Variant, device: torch.device):
        self.stage, self.variant, self.device = stage, variant, device
        self.config, network = sections(scale, stage)
        torch.manual_seed(0)
        with device if device.type == "meta" else nullcontext():
            self.segmenter = Segmenter(network, CITYSCAPES).to(device).train()
            self.nets = Loops(self.config.loops, self.segmenter).to(device)
        if variant.plain or variant.without == "the layout channels_last":
            self.nets.to(memory_format=torch.contiguous_format)
            self.segmenter.to(memory_format=torch.contiguous_format)
        for network in (self.segmenter, self.nets):
            recompute(network, variant.memory)
        self.nets.separate_passes = variant.memory == "least"
        self.optimizers = self._optimizers()
        self.day, self.pairs = batches(self.config, device)

    @property
    def images(self) -> int:
        """Consumed by an iteration."""
        return len(self.day.images) + len(self.pairs.images) + len(self.pairs.references)

    @property
    def constants(self) -> Iterator[Tensor]:
        """What is there before and after an iteration."""
        for part in (self.segmenter, self.nets, self.nets.perceptual):
            yield from chain(part.parameters(), part.buffers())

    @contextmanager
    def imagined(self) -> Iterator[None]:
        """In this block nothing is computed, but every operation is there to be counted, in any precision.

        By the autocast of a CPU. A GPU's makes fp32 of what is resized besides, which no backward pass keeps. The
        weights lose their values for good.
        """
        mode = FakeTensorMode()
        for part in (self.segmenter, self.nets, self.nets.perceptual):
            for module in part.modules():
                imagine(module, mode)
        with ExitStack() as stack:
            stack.enter_context(mode)
            # it keeps its tensors for later calls, in which these would be without content
            stack.enter_context(patch.object(agreement, "_table", agreement._table.__wrapped__))
            self.optimizers = self._idle_optimizers()
            self.day, self.pairs = batches(self.config, self.device)
            yield

    def step(self, *, eager: bool = False) -> Terms:
        """One iteration, with its backward passes and updates. eager: one operation after the other in any case."""
        with ExitStack() as stack:
            if not self.variant.plain:
                compiled = self.variant.compiled and not eager
                stack.enter_context(computing_in(self.variant.precision, compiled=compiled))
            elif self.variant.precision == "bf16":
                stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
            without = NORMALISATION if self.variant.plain else self.variant.without
            if without in PATCHES:
                stack.enter_context(patch.object(*PATCHES[without]))
            if self.variant.plain:
                tau = self.config.agreement.tau if self.stage == "self_train" else None
                return plain.iteration(self.segmenter, self.nets, self.optimizers, self.day, self.pairs, tau=tau)
            training = OneStep(self.config.steps)  # the last, in which all networks learn
            self.train(training)
            return training.recorded

    def train(self, training: Training | OneStep) -> None:
        """The loop of the stage, with this case's networks, optimisers and batches."""
        networks = (self.segmenter, self.nets, self.optimizers)
        STAGES[self.stage].train(self.config, *networks, training, lambda step: (self.day, self.pairs))

    def _optimizers(self) -> Mapping[str, Optimizer]:
        """The stage's own; plain: by one parameter after the other."""
        if self.device.type == "meta":
            return self._idle_optimizers()
        own = {"segmenter": segmenter_optimizer(self.segmenter, self.config.optimizer), **self.nets.optimizers()}
        if self.variant.plain or self.variant.without == "fused optimisers":
            return {name: one_by_one(optimizer) for name, optimizer in own.items()}
        return own

    def _idle_optimizers(self) -> Mapping[str, Optimizer]:
        """There is nothing to update where tensors have no content."""
        parts = {"segmenter": self.segmenter, **dict(self.nets.named_children())}
        optimizers = {name: SGD(trained(part), lr=0.0, foreach=False) for name, part in parts.items()}
        for optimizer in optimizers.values():
            optimizer.param_groups[0]["initial_lr"] = 0.0
        return optimizers


def sections(scale: Scale, stage: Stage) -> tuple[Section, Network]:
    """The configuration of a stage, and of its network, at a scale; ConfigError where its files are not here."""
    root = Path(__file__).parents[2]
    experiment, overlay = SCALES[scale]
    if not (root / "config.yaml").exists():
        raise ConfigError(f"{root / 'config.yaml'}: not found; run the benchmark in a checkout of the repository")
    config = read_mapping(root / "config.yaml")
    if overlay:
        config = experiments.merged(config, read_mapping(root / overlay))
    values = experiments.section(config, experiment, stage)
    values["loops"]["decoders"]["lpips_weights"] = ""  # random ones cost the same
    network = experiments.section(config, experiment, "pretrain")["network"]
    return parse_section(values, STAGES[stage].Config, stage), parse_section(network, Network, "network")


def batches(config: Section, device: torch.device) -> tuple[DayBatch, NightBatch]:
    """A random labelled batch, and one of night images that all have a reference, of the stage's size."""
    count, (width, height) = config.batch_size, config.input.crop

    def images() -> Tensor:
        drawn = torch.rand(count, 3, height, width, device=device) * 2 - 1
        return drawn.contiguous(memory_format=torch.channels_last)

    def labels() -> Tensor:
        drawn = torch.randint(len(CITYSCAPES) + 1, (count, height, width), device=device)
        return drawn.where(drawn < len(CITYSCAPES), torch.full_like(drawn, IGNORE))

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * count, device=device)
    paired = torch.ones(count, dtype=torch.bool, device=device)
    return (
        DayBatch(images(), labels(), boxes),
        NightBatch(images(), images(), paired, labels(), labels(), boxes),
    )


def imagine(module: nn.Module, mode: FakeTensorMode) -> None:
    """Take the content out of the parameters and buffers that are the module's own."""
    for name, parameter in module.named_parameters(recurse=False):
        hollow = mode.from_tensor(parameter).detach()
        module.register_parameter(name, nn.Parameter(hollow, requires_grad=parameter.requires_grad))
    for name, value in module.named_buffers(recurse=False):
        setattr(module, name, mode.from_tensor(value))


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not constant."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def one_by_one(optimizer: Optimizer) -> Optimizer:
    """The optimiser, which from now on updates one parameter after the other."""
    for group in optimizer.param_groups:
        group |= {"fused": False, "foreach": False}
    return optimizer
