"""The measured iterations: of warm-up or self-training, at the town's or the paper's scale."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, Optimizer

from loopda.benchmark import plain
from loopda.benchmark.variants import CONTIGUOUS, NORMALISATION, REPLACEMENTS, UNFUSED, Variant
from loopda.config import Section, parse_section
from loopda.data.batches import AnyBatch, DayBatch, NightBatch
from loopda.errors import ConfigError
from loopda.labels import agreement
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.methods.loopda import Loops
from loopda.methods.method import Terms
from loopda.models.compute.precision import computing_in
from loopda.models.compute.recomputation import recompute
from loopda.models.segmenter import Network, Segmenter
from loopda.pipeline import experiments
from loopda.stages import self_train, warmup
from loopda.text.strict_yaml import read_mapping
from loopda.training.loop import Training
from loopda.training.optimizer import descend, descent, segmenter_optimizer

Scale = Literal["town", "paper"]
StageName = Literal["warmup", "self_train"]

# each scale: the experiment, and the file over config.yaml that has it; the plain reference is written for a ResNet
SCALES: dict[str, tuple[str, str | None]] = {
    "town": ("loopda-resnet", None),
    "paper": ("paper", "workflow/config/paper.yaml"),
}
STAGES = {"warmup": warmup, "self_train": self_train}


class OneStep:
    """A `Training` of a single step, without guard and without saving.

    step: the number of the step. recorded: its recorded values.
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

    config: the section of the stage in the files of this checkout. On the device "meta" nothing is computed, but all
    operations can be counted; for 16 bits see `with_fake_tensors`.
    """

    def __init__(self, scale: Scale, stage: StageName, variant: Variant, device: torch.device):
        self.stage, self.variant, self.device = stage, variant, device
        config, network = sections(scale, stage)
        compute = config.compute.model_copy(update={"memory": variant.memory})
        self.config = config.model_copy(update={"compute": compute})
        torch.manual_seed(0)
        with device if device.type == "meta" else nullcontext():
            self.segmenter = Segmenter(network, CITYSCAPES).to(device).train()
            self.nets = Loops(self.config.loops, self.segmenter).to(device)
        if variant.plain or variant.without == CONTIGUOUS:
            self.nets.to(memory_format=torch.contiguous_format)
            self.segmenter.to(memory_format=torch.contiguous_format)
        for network in (self.segmenter, self.nets):
            recompute(network, variant.memory)
        self.optimizers = self._optimizers()
        self.day, self.pairs = batches(self.config, device)

    @property
    def images(self) -> int:
        """The number of images of an iteration."""
        return len(self.day.images) + len(self.pairs.images) + len(self.pairs.references)

    @property
    def constants(self) -> Iterator[Tensor]:
        """The parameters and buffers, which exist before and after an iteration."""
        for part in (self.segmenter, self.nets, self.nets.perceptual):
            yield from chain(part.parameters(), part.buffers())

    @contextmanager
    def with_fake_tensors(self) -> Iterator[None]:
        """In this block nothing is computed, but all operations can be counted, in any precision.

        The autocast is a CPU's. A GPU's autocast also converts resized tensors to fp32, which no backward pass keeps.
        The weights lose their values for good.
        """
        mode = FakeTensorMode()
        for part in (self.segmenter, self.nets, self.nets.perceptual):
            for module in part.modules():
                make_fake(module, mode)
        with ExitStack() as stack:
            stack.enter_context(mode)
            # without its cache, which would keep fake tensors for later calls
            stack.enter_context(patch.object(agreement, "_table", agreement._table.__wrapped__))
            self.optimizers = self._fake_optimizers()
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
            if without in REPLACEMENTS:
                stack.enter_context(patch.object(*REPLACEMENTS[without]))
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
        """The stage's optimisers; the plain reference's update one parameter after the other."""
        if self.device.type == "meta":
            return self._fake_optimizers()
        own = {"segmenter": segmenter_optimizer(self.segmenter, self.config.optimizer), **self.nets.optimizers()}
        if self.variant.plain or self.variant.without == UNFUSED:
            return {name: one_by_one(optimizer) for name, optimizer in own.items()}
        return own

    def _fake_optimizers(self) -> Mapping[str, Optimizer]:
        """SGD of rate 0: fake tensors have no values to update."""
        parts = {"segmenter": self.segmenter, **dict(self.nets.named_children())}
        optimizers = {name: SGD(trained(part), lr=0.0, foreach=False) for name, part in parts.items()}
        for optimizer in optimizers.values():
            optimizer.param_groups[0]["initial_lr"] = 0.0
        return optimizers


def sections(scale: Scale, stage: StageName) -> tuple[Section, Network]:
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


def make_fake(module: nn.Module, mode: FakeTensorMode) -> None:
    """Replace the module's own parameters and buffers by fake tensors, which have no values."""
    for name, parameter in module.named_parameters(recurse=False):
        fake = mode.from_tensor(parameter).detach()
        module.register_parameter(name, nn.Parameter(fake, requires_grad=parameter.requires_grad))
    for name, value in module.named_buffers(recurse=False):
        setattr(module, name, mode.from_tensor(value))


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that require a gradient."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def one_by_one(optimizer: Optimizer) -> Optimizer:
    """The optimiser, which from now on updates one parameter after the other."""
    for group in optimizer.param_groups:
        group |= {"fused": False, "foreach": False}
    return optimizer
