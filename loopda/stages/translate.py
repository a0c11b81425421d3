"""Stage `translate`: labelled day images that look like night, by a CycleGAN (CyCADA, Hoffman et al., ICML 2018).

Symbols as in `loopda/methods/loopda.py`: d2n is a day image translated to night, n2d the reverse.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.dataset import Frames, Input
from loopda.data.manifest import Row, read_manifest, with_image, write_manifest
from loopda.data.tiles import photograph, tile_size
from loopda.data.transforms import to_bytes, to_images
from loopda.errors import ConfigError
from loopda.labels.contact_sheet import SheetRow, write_contact_sheet
from loopda.labels.png import write_image
from loopda.losses.adversarial import discriminator_loss, generator_loss
from loopda.losses.reconstruction import reconstruction
from loopda.losses.segmentation import semantic_consistency
from loopda.methods.method import Terms, frozen
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import DOMAINS, load_segmenter, save_checkpoint
from loopda.models.translator import ImageBuffer, PatchDiscriminator, Translator
from loopda.randomness import seed_torch
from loopda.runtime import distributed, processes
from loopda.runtime.command import command, records
from loopda.runtime.signals import interruptible
from loopda.text.names import bounded
from loopda.training.job import Job
from loopda.training.optimizer import adam
from loopda.training.schedule import linear, set_learning_rate

BATCH = 8  # images that are translated at once when the training is done

Weight = Annotated[float, Field(ge=0)]
Look = Callable[[Tensor], Tensor]  # from images to logits


class Generators(Section):
    """The networks G_d2n and G_n2d. levels: how many times they halve the resolution for the residual blocks."""

    width: Annotated[int, Field(ge=4)]
    levels: Annotated[int, Field(ge=0, le=2)]
    residual_blocks: Annotated[int, Field(ge=0)]
    lr: Annotated[float, Field(gt=0)]


class Discriminators(Section):
    """The networks D_n and D_d. buffer: how many translations are kept to be shown to each again."""

    width: Annotated[int, Field(ge=4)]
    layers: Annotated[int, Field(ge=1, le=5)]
    lr: Annotated[float, Field(gt=0)]
    buffer: Annotated[int, Field(ge=0)]


class Weights(Section):
    """Of the terms of CyCADA's equation 6 that the generators minimise, and of CycleGAN's identity."""

    adversarial: Weight
    cycle: Weight
    identity: Weight
    semantic: Weight


class Config(Section):
    """The section `translate`, with `input` and `compute`.

    constant: share of the steps before the learning rates begin to fall. pictures: rows of the contact sheet.
    """

    input: Input
    compute: Compute
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    constant: Annotated[float, Field(ge=0, le=1)]
    generators: Generators
    discriminators: Discriminators
    weights: Weights
    pictures: Annotated[int, Field(ge=1)]


@records("translated")
def run(
    *,
    config: Config,
    pretrained: Path,
    source: Path,
    night: Path,
    classes: Path,
    translated: Path,
    generators: Path,
    metrics: Path,
    sheet: Path,
    log: Path,
    seed: int,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Learn to translate between labelled day and night; `pretrained` says what must stay the same in an image.

    translated: the manifest `source` with a translation in the place of each image, and its own label map; any stage
    that trains reads it as its source. generators: the two networks. sheet: day, translated and night side by side.
    """
    job = Job("translate", config, model=generators, log=log, seed=seed, device=device, threads=threads)
    job.open(source=source, night=night, classes=classes)

    see = {domain: fixed(pretrained, domain, job.device) for domain in DOMAINS}
    seed_torch(seed, "translators", 0)
    nets = Networks(config).to(job.device)
    to_night, to_day = nets.generators["night"], nets.generators["day"]
    optimizers = nets.optimizers()
    training = job.training(
        parts={"generators": nets.generators, "discriminators": nets.discriminators, "shown": nets.shown, **optimizers},
        inputs={"pretrained": pretrained},
        images=2 * config.batch_size,
    )

    for step, (labelled, dark) in training.over(job.batches()):
        # set learning rate
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, linear(step, steps=config.steps, constant=config.constant))

        # translate
        x_d, x_n = labelled.images, dark.images
        x_d2n, x_n2d = to_night(x_d), to_day(x_n)
        terms = nets.terms(x_d, x_n, x_d2n, x_n2d, see)

        # update: the generators, then the discriminators on new and older translations
        total = sum(getattr(config.weights, name) * term for name, term in terms.items())
        training.descend(total, optimizers["to_fool"])
        told = nets.told_apart(night=(x_n, x_d2n), day=(x_d, x_n2d))
        training.descend(told, optimizers["to_tell"])

        # log
        training.record(**terms, discriminators=told)

    save_generators(nets, generators, **job.provenance)
    write_translations(to_night, job.day, translated, job.device)
    if processes.is_first():
        rows = translation_rows(job.day, read_manifest(translated), job.night, config.pictures)
        write_contact_sheet(sheet, rows)
    training.publish(metrics)


class Networks(nn.Module):
    """Generators, discriminators and the translations that are shown again, each by the domain whose look they make."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        make, judge = config.generators, config.discriminators
        self.generators, self.discriminators, self.shown = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        made_of = {"night": config.input.labelled_day, "day": config.input.size}  # a translation keeps the size
        for domain, size in made_of.items():
            width, height = (min(pair) for pair in zip(config.input.crop, size, strict=True))
            if min(width, height) >> judge.layers < 3:
                raise ConfigError(
                    f"translate.discriminators.layers: {judge.layers} are too many for images of {width}x{height}; "
                    "choose fewer, or a larger input.crop"
                )
            self.generators[domain] = Translator(
                width=make.width, levels=make.levels, residual_blocks=make.residual_blocks
            )
            self.discriminators[domain] = PatchDiscriminator(width=judge.width, layers=judge.layers)
            self.shown[domain] = ImageBuffer(capacity=judge.buffer, height=height, width=width)
        self.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the generators, and Adam for the discriminators."""
        return {
            "to_fool": adam([self.generators], self.config.generators.lr),
            "to_tell": adam([self.discriminators], self.config.discriminators.lr),
        }

    def terms(self, x_d: Tensor, x_n: Tensor, x_d2n: Tensor, x_n2d: Tensor, see: Mapping[str, Look]) -> Terms:
        """What the generators minimise, each term without its weight; those of weight 0 are left out.

        see: the constant source-only model with the statistics of each domain, from images to logits.
        """
        weights, to_night, to_day = self.config.weights, self.generators["night"], self.generators["day"]

        # a translation passes for real (equation 2) ...
        terms: Terms = {"adversarial": self.fooled(night=x_d2n, day=x_n2d)}

        # ... finds its way back (equation 3)
        if weights.cycle:
            there_and_back = reconstruction(output=to_day(x_d2n), image=x_d)
            terms["cycle"] = there_and_back + reconstruction(output=to_night(x_n2d), image=x_n)

        # ... shows the source-only model what it saw before (equation 4)
        if weights.semantic:
            kept = semantic_consistency(translated=see["night"](x_d2n), original=see["day"](x_d))
            terms["semantic"] = kept + semantic_consistency(translated=see["day"](x_n2d), original=see["night"](x_n))

        # and what is of the domain already stays as it is
        if weights.identity:
            unchanged = reconstruction(output=to_day(x_d), image=x_d)
            terms["identity"] = unchanged + reconstruction(output=to_night(x_n), image=x_n)
        return terms

    def fooled(self, **translations: Tensor) -> Tensor:
        """How far the translations to each domain are from passing for real; the discriminators are constant."""
        return sum(
            generator_loss(fake=[frozen(self.discriminators[domain])(images)])
            for domain, images in translations.items()
        )

    def told_apart(self, **pairs: tuple[Tensor, Tensor]) -> Tensor:
        """The discriminators' own loss on (real images, translations) of each domain."""
        return sum(
            discriminator_loss(
                real=[[self.discriminators[domain](real)]],
                fake=[self.discriminators[domain](self.shown[domain](translations))],
            )
            for domain, (real, translations) in pairs.items()
        )


def fixed(pretrained: Path, domain: str, device: torch.device) -> Look:
    """The source-only model as a constant function from images to logits, with the statistics of `domain`."""
    segmenter = load_segmenter(pretrained).to(device).requires_grad_(False)
    segmenter.use_statistics(domain)
    return lambda images: segmenter(images, aux=False).logits


def save_generators(nets: Networks, path: Path, **provenance: object) -> None:
    """Write the weights of both generators: "night" makes night of day, "day" the reverse.

    provenance: as in save_segmenter.
    """
    state = {domain: network.state_dict() for domain, network in nets.generators.items()}
    weights = {domain: {name: value.cpu() for name, value in values.items()} for domain, values in state.items()}
    save_checkpoint({"format": 1, "generators": weights, "provenance": provenance}, path)


@torch.no_grad()
def write_translations(to_night: Translator, frames: Frames, manifest: Path, device: torch.device) -> None:
    """Translate every image of `frames` whole, and write their manifest beside the folder of the images.

    The processes take turns, and the first writes the manifest.
    """
    folder = manifest.parent / "images"
    paths = [folder / f"{number:05d}_{bounded(row.image.stem)}.png" for number, row in enumerate(frames.rows)]
    batches = distributed.turns(range(0, len(frames), BATCH))
    for first in interruptible(batches, "the training is saved; the same command goes on after it"):
        numbers = range(first, min(first + BATCH, len(frames)))
        images = to_bytes(to_night(to_images([frames.image(number) for number in numbers]).to(device)))
        for number, image in zip(numbers, images, strict=True):
            write_image(paths[number], image)
    distributed.wait()
    if processes.is_first():
        write_manifest(manifest, [with_image(row, path) for row, path in zip(frames.rows, paths, strict=True)])


def translation_rows(day: Frames, translated: list[Row], night: Frames, pictures: int) -> list[SheetRow]:
    """For a contact sheet: `pictures` rows, spread evenly over the sets, of a day image, its translation, and some
    night image."""
    lines: list[SheetRow] = [f"{len(day)} labelled day images, translated to look like {len(night)} night images"]
    count = min(pictures, len(day), len(night))
    for at in range(count):
        rows = [frames[at * (len(frames) - 1) // max(count - 1, 1)] for frames in (day.rows, translated, night.rows)]
        shown = zip(("day", "translated", "night"), rows, strict=True)
        lines.append([photograph(f"{name}: {row.image.name}", row.image, tile_size(row)) for name, row in shown])
    return lines


if __name__ == "__main__":
    command(run)
