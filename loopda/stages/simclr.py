"""Stage `simclr`: contrastive pretraining of the student's backbone without labels (SimCLRv2), or an import of it."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from loopda.command import command
from loopda.config import Section
from loopda.data.augmentation import each, simclr_views
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.manifest import Row
from loopda.data.sampling import batch_indices
from loopda.data.transforms import to_images
from loopda.losses.contrastive import nt_xent
from loopda.models.projection import ProjectionHead
from loopda.models.segmenter import Network, Segmenter, save_segmenter
from loopda.models.weights import load_backbone
from loopda.randomness import seed_torch
from loopda.training.device import choose_device, use_threads
from loopda.training.log import Log
from loopda.training.loop import Training, fingerprint
from loopda.training.optimizer import adam, descend
from loopda.training.schedule import poly, set_learning_rate


class Config(Section):
    """The section `simclr`, with `input` and `network`."""

    input: Input
    network: Network
    normalisation: Literal["caffe", "caffe-rgb", "unit"]
    weights: str
    steps: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    view: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]
    temperature: Annotated[float, Field(gt=0)]
    projection: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]


def run(
    *,
    config: Config,
    source: Path,
    night: Path,
    classes: Path,
    model: Path,
    metrics: Path,
    log: Path,
    seed: int,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Write the student: a segmentation network with a pretrained backbone, random heads, and `bn_pretrain`."""
    lines = Log(log, "simclr")
    place = choose_device(device)
    use_threads(threads)
    frames = every_image(source, night, classes, config.input.size, threads)

    seed_torch(seed, "student", 0)
    network = Network(**{**config.network.model_dump(), "normalisation": config.normalisation})
    student = Segmenter(network, frames.classes, bn_pretrain=True)
    steps = config.steps
    if config.weights:
        load_backbone(student.network, Path(config.weights))
        lines.say(f"the backbone is imported from {config.weights}; no contrastive training")
        steps = 0
    student.to(place).train()
    head = ProjectionHead(student.network.channels[-1], config.projection).to(place)
    optimizer = adam([student.network, head], config.lr)
    training = Training(
        stage="simclr",
        steps=steps,
        parts={"network": student.network, "head": head, "optimizer": optimizer},
        state=model.parent / "state",
        fingerprint=fingerprint(config, {"source": source, "night": night, "classes": classes}, seed),
        seed=seed,
        images=config.batch_size,
        device=place,
        log=lines,
    )
    augment = simclr_views(config.view)

    def batch(step: int) -> Tensor:
        settings = {"count": len(frames), "batch_size": config.batch_size, "seed": seed, "stream": "simclr"}
        return to_images([frames.image(index) for index in batch_indices(step=step, **settings)])

    def project(images: Tensor) -> Tensor:
        return head(student(images, aux=False).features.mean(dim=(2, 3)))

    for step, images in training.over(batch):
        # set learning rate
        set_learning_rate(optimizer, poly(step, steps=steps, power=0.9, warmup=config.warmup_steps))

        # two views of each image, one pass, so that both share the statistics of normalisation
        views = torch.cat([each(augment, images), each(augment, images)])
        first, second = project(views).chunk(2)
        loss = nt_xent(first=first, second=second, temperature=config.temperature)

        # update
        descend(loss, optimizer)

        # log
        training.record(nt_xent=loss)

    save_segmenter(student, model, stage="simclr", seed=seed, config=config.model_dump(mode="json"))
    training.publish(metrics)


def every_image(source: Path, night: Path, classes: Path, size: tuple[int, int], threads: int) -> Frames:
    """Every training image without its label: labelled day, night, and day references."""
    day, dark = (open_frames(manifest, classes, size, threads=threads) for manifest in (source, night))
    paths = sorted(
        {row.image for row in (*day.rows, *dark.rows)} | {row.reference for row in dark.rows if row.reference}
    )
    return Frames([Row(path) for path in paths], day.classes, size, threads=threads)


if __name__ == "__main__":
    command(run)
