"""Stage `translate`: labelled day images translated to night by a CycleGAN (CyCADA, Hoffman et al., ICML 2018).

Symbols as in `loopda/methods/loopda.py`: d labelled day, n night; d2n is a day image translated to night, n2d the
reverse.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from loopda.config import Count, Fraction, Section
from loopda.data.batches import DayBatch, NightBatch, whole_images
from loopda.data.dataset import Frames, Input
from loopda.data.manifest import Row, read_manifest, with_image, write_manifest
from loopda.data.sampling import evenly
from loopda.data.tiles import photograph, tile_size
from loopda.data.transforms import to_bytes
from loopda.labels.contact_sheet import SheetRow, write_contact_sheet
from loopda.labels.png import write_image
from loopda.losses.adversarial import discriminator_loss, generator_loss
from loopda.losses.reconstruction import reconstruction
from loopda.losses.segmentation import semantic_consistency
from loopda.methods.cyclegan import CycleGAN, CycleGANWeights, Discriminators, Generators, save_generators
from loopda.methods.method import Terms, frozen
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.segmenter import DOMAINS
from loopda.models.translator import Translator
from loopda.randomness import seed_torch
from loopda.runtime import distributed, processes
from loopda.runtime.command import command, records
from loopda.text.names import bounded
from loopda.training.loop import Training
from loopda.training.optimizer import adam
from loopda.training.schedule import linear, set_learning_rate
from loopda.training.stage import TrainingStage
from loopda.training.statistics import SAVED

TILE_WIDTH = 320
BATCH = 8  # images that are translated at once after the training

ImagesToLogits = Callable[[Tensor], Tensor]


class Config(Section):
    """The section `translate`, with `input` and `compute`.

    constant: the fraction of the steps before the learning rates begin to fall. pictures: rows of the contact sheet.
    """

    input: Input
    compute: Compute
    steps: Count
    batch_size: Count
    constant: Fraction
    generators: Generators
    discriminators: Discriminators
    weights: CycleGANWeights
    pictures: Count


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
    """Learn to translate between labelled day and night; the source-only model `pretrained` keeps the semantics.

    translated: the manifest of `source` with the translation in the place of each image, and its own label map; any
    stage that trains reads it as its source. generators: the two networks. sheet: day, translated and night side by
    side.
    """
    stage = TrainingStage("translate", config, model=generators, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)

    task_networks = {domain: frozen_segmenter(pretrained, domain, stage.device) for domain in DOMAINS}
    seed_torch(seed, "translators", 0)
    nets = CycleGAN(config.generators, config.discriminators, config.input).to(stage.device)
    optimizers = {
        "generator_optimizer": adam([nets.generators], config.generators.lr),
        "discriminator_optimizer": adam([nets.discriminators], config.discriminators.lr),
    }
    training = stage.training(
        parts={**dict(nets.named_children()), **optimizers},
        inputs={"pretrained": pretrained},
        images=2 * config.batch_size,
    )

    train(config, nets, task_networks, optimizers, training, stage.batches())
    save_generators(nets, generators, **stage.provenance)
    write_translations(nets.generators["night"], stage.day, translated, stage.device)
    if processes.is_first():
        rows = translation_rows(stage.day, read_manifest(translated), stage.night, config.pictures)
        write_contact_sheet(sheet, rows)
    training.publish(metrics)


def train(
    config: Config,
    nets: CycleGAN,
    task_networks: Mapping[str, ImagesToLogits],
    optimizers: Mapping[str, Optimizer],
    training: Training,
    batches: Callable[[int], tuple[DayBatch, NightBatch]],
) -> None:
    """The steps of the training. task_networks: by domain the source-only model, from images to logits.

    batches: from a step to its labelled day batch and its night batch.
    """
    weights = config.weights
    g_d2n, g_n2d = nets.generators["night"], nets.generators["day"]
    d_n, d_d = nets.discriminators["night"], nets.discriminators["day"]
    buffer_n, buffer_d = nets.image_buffers["night"], nets.image_buffers["day"]
    f_n, f_d = task_networks["night"], task_networks["day"]

    for step, (day_batch, night_batch) in training.over(batches):
        # set learning rate
        for optimizer in optimizers.values():
            set_learning_rate(optimizer, linear(step, steps=config.steps, constant=config.constant))

        # generator step: translate
        x_d, x_n = day_batch.images, night_batch.images
        x_d2n, x_n2d = g_d2n(x_d), g_n2d(x_n)

        # adversarial loss (equation 2)
        adv_d2n = generator_loss(fake=[frozen(d_n)(x_d2n)])
        adv_n2d = generator_loss(fake=[frozen(d_d)(x_n2d)])
        terms: Terms = {"adversarial": adv_d2n + adv_n2d}

        # cycle consistency (equation 3)
        if weights.cycle:
            cycle_d = reconstruction(output=g_n2d(x_d2n), image=x_d)
            cycle_n = reconstruction(output=g_d2n(x_n2d), image=x_n)
            terms["cycle"] = cycle_d + cycle_n

        # semantic consistency (equation 4)
        if weights.semantic:
            semantic_d = semantic_consistency(translated=f_n(x_d2n), original=f_d(x_d))
            semantic_n = semantic_consistency(translated=f_d(x_n2d), original=f_n(x_n))
            terms["semantic"] = semantic_d + semantic_n

        # identity: an image of the target domain stays as it is (CycleGAN)
        if weights.identity:
            identity_d = reconstruction(output=g_n2d(x_d), image=x_d)
            identity_n = reconstruction(output=g_d2n(x_n), image=x_n)
            terms["identity"] = identity_d + identity_n

        # update the generators by the weighted sum (equation 6)
        total = sum(getattr(weights, name) * term for name, term in terms.items())
        training.descend(total, optimizers["generator_optimizer"])

        # discriminator step, on new and earlier translations (equation 2)
        loss_n = discriminator_loss(real=[[d_n(x_n)]], fake=[d_n(buffer_n(x_d2n))])
        loss_d = discriminator_loss(real=[[d_d(x_d)]], fake=[d_d(buffer_d(x_n2d))])
        loss = loss_n + loss_d
        training.descend(loss, optimizers["discriminator_optimizer"])

        # log
        training.record(**terms, discriminators=loss)


def frozen_segmenter(pretrained: Path, domain: str, device: torch.device) -> ImagesToLogits:
    """The source-only model with constant weights and the statistics of `domain`, from images to logits."""
    segmenter = load_segmenter(pretrained).to(device).requires_grad_(False)
    segmenter.use_statistics(domain)
    return lambda images: segmenter(images, aux=False).logits


@torch.no_grad()
def write_translations(to_night: Translator, frames: Frames, manifest: Path, device: torch.device) -> None:
    """Translate every whole image of `frames`; write the images, and their manifest beside them.

    Several processes take turns with the batches, and the first writes the manifest.
    """
    folder = manifest.parent / "images"
    paths = [folder / f"{number:05d}_{bounded(row.image.stem)}.png" for number, row in enumerate(frames.rows)]
    for numbers, images in whole_images(frames, BATCH, device, remedy=SAVED):
        for number, image in zip(numbers, to_bytes(to_night(images)), strict=True):
            write_image(paths[number], image)
    distributed.wait()
    if processes.is_first():
        write_manifest(manifest, [with_image(row, path) for row, path in zip(frames.rows, paths, strict=True)])


def translation_rows(day: Frames, translated: list[Row], night: Frames, pictures: int) -> list[SheetRow]:
    """For a contact sheet: `pictures` rows, spread evenly over the sets, of a day image, its translation, and any
    night image."""
    sheet: list[SheetRow] = [f"{len(day)} labelled day images, translated to look like {len(night)} night images"]
    count = min(pictures, len(day), len(night))
    for of_day, of_night in zip(evenly(len(day), count), evenly(len(night), count), strict=True):
        rows = (day.rows[of_day], translated[of_day], night.rows[of_night])
        shown = zip(("day", "translated", "night"), rows, strict=True)
        sheet.append([photograph(f"{name}: {row.image.name}", row.image, tile_size(row)) for name, row in shown])
    return sheet


if __name__ == "__main__":
    command(run)
