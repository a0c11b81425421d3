"""Stage `simclr`: contrastive pretraining of the student's backbone without labels (SimCLRv2), or an import of it."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Positive, Section, WholeNumber
from loopda.data.augmentation import each, simclr_views
from loopda.data.dataset import Frames, Input
from loopda.data.manifest import Row
from loopda.data.sampling import batch_indices
from loopda.data.transforms import pack
from loopda.errors import ConfigError
from loopda.exchange.backbone import new_segmenter
from loopda.losses.contrastive import nt_xent
from loopda.models.checkpoint import load_segmenter
from loopda.models.compute.settings import Compute
from loopda.models.projection import ProjectionHead
from loopda.models.segmenter import Network, Normalisation, copy_backbone
from loopda.randomness import seed_torch
from loopda.runtime import distributed
from loopda.runtime.command import command, records
from loopda.training.optimizer import adam
from loopda.training.schedule import poly, set_learning_rate
from loopda.training.stage import TrainingStage
from loopda.weights.downloads import locate


class Config(Section):
    """The section `simclr`, with `input`, `compute` and `network`."""

    input: Input
    compute: Compute
    network: Network
    normalisation: Normalisation
    start: Literal["pretrain", "random"]
    weights: str
    steps: WholeNumber
    batch_size: Annotated[int, Field(ge=2)]
    view: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]
    temperature: Positive
    projection: Annotated[int, Field(ge=2)]
    lr: Positive
    warmup_steps: WholeNumber


@records("model")
def run(
    *,
    config: Config,
    pretrained: Path | None = None,
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
    """Write the student: a segmentation network with a pretrained backbone, random heads, and `bn_pretrain`.

    `simclr.weights` gives the backbone. Without it the backbone is trained here: `simclr.start` says whether from
    random weights or from the source-only model `pretrained`.
    """
    stage = TrainingStage("simclr", config, model=model, log=log, seed=seed, device=device, threads=threads)
    stage.open_data(source=source, night=night, classes=classes)
    frames = every_image(stage)

    backbone = locate(config.weights, stage.log.say) if config.weights else None
    seed_torch(seed, "student", 0)
    network = Network(**{**config.network.model_dump(), "normalisation": config.normalisation})
    student = new_segmenter(network, frames.classes, backbone, bn_pretrain=True, say=stage.log.say)
    steps = 0 if backbone else config.steps  # an imported backbone needs no contrastive training
    if not backbone and config.start == "pretrain":
        if pretrained is None:
            raise ConfigError("simclr.start is pretrain: name the source-only model (--pretrained)")
        copy_backbone(load_segmenter(pretrained), student)
    student.to(stage.device).train()
    head = ProjectionHead(student.network.channels[-1], config.projection).to(stage.device)
    optimizer = adam([student.network, head], config.lr)
    parts = {"network": student.network, "head": head, "optimizer": optimizer}
    inputs = {name: path for name, path in (("weights", backbone), ("pretrained", pretrained)) if path}
    training = stage.training(parts=parts, inputs=inputs, images=config.batch_size, steps=steps)
    augment = simclr_views(config.view)

    def batch(step: int) -> Tensor:
        settings = {"count": len(frames), "batch_size": config.batch_size, "seed": seed, "stream": "simclr"}
        return pack([frames.image(index) for index in distributed.share(batch_indices(step=step, **settings))])

    def project(images: Tensor) -> Tensor:
        return head(student(images, aux=False, logits=False).features.mean(dim=(2, 3)))

    for step, images in training.over(batch):
        # set learning rate
        set_learning_rate(optimizer, poly(step, steps=steps, power=0.9, warmup=config.warmup_steps))

        # two views of each image, in one batch, so that both share the batch statistics
        views = torch.cat([each(augment, images), each(augment, images)])
        first, second = project(views).chunk(2)

        # contrastive loss (SimCLR, equation 1)
        loss = nt_xent(first=first, second=second, temperature=config.temperature)

        # update
        training.descend(loss, optimizer)

        # log
        training.record(nt_xent=loss)

    stage.finish(training, student, metrics, statistics=False)


def every_image(stage: TrainingStage) -> Frames:
    """All training images without labels, at the size of night: labelled day, night, and day references."""
    paths = {row.image for row in (*stage.day.rows, *stage.night.rows)}
    paths |= {row.reference for row in stage.night.rows if row.reference}
    return Frames([Row(path) for path in sorted(paths)], stage.day.classes, stage.night.size, threads=stage.threads)


if __name__ == "__main__":
    command(run)
