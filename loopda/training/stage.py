"""What every training stage does around its loop: open the data, build the training, write the model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from loopda.data.batches import DayBatch, Draw, NightBatch, PseudoLabels, day_batch, night_batch
from loopda.data.dataset import open_frames
from loopda.errors import ConfigError
from loopda.models.checkpoint import save_segmenter
from loopda.models.compute.compilation import check_compiler
from loopda.models.compute.recomputation import recompute
from loopda.models.compute.settings import environment, make_reproducible
from loopda.models.segmenter import Segmenter
from loopda.pipeline.checking import uncompilable
from loopda.runtime import distributed, processes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.log import Log
from loopda.training.loop import Training
from loopda.training.state import fingerprint
from loopda.training.statistics import set_statistics


class TrainingStage:
    """One run of the training stage `stage`, whose result is the file `model`.

    config: the stage's section, of which `input`, `compute`, `steps` and `batch_size` are read here. `open_data` adds
    the frames `day`, `night` and `labelled`; `labelled` are those of the day, or their translations.
    """

    def __init__(self, stage: str, config: Any, *, model: Path, log: Path, seed: int, device: str, threads: int):
        self.stage, self.config, self.model = stage, config, model
        self.seed, self.threads = seed, threads
        self.log = Log(log, stage)
        make_reproducible(config.compute.reproducibility)
        self.device = choose_device(device, several=True)
        use_threads(threads)
        distributed.check_share(f"{stage}.batch_size", config.batch_size)
        if config.compute.compiled:
            self._check_compilation()

    def open_data(self, *, source: Path, night: Path, classes: Path, translated: Path | None = None) -> None:
        """Read the manifests and the class list that `prepare` wrote, and the images.

        translated: the manifest of `translate`, whose images replace those of source in the labelled batches. The
        normalisation statistics of the day are still those of source.
        """
        self.data = {"source": source, "night": night, "classes": classes}
        sizes = self.config.input
        self.day = self.labelled = open_frames(source, classes, sizes.labelled_day, threads=self.threads)
        if translated is not None:
            self.data["translated"] = translated
            self.labelled = open_frames(translated, classes, sizes.labelled_day, threads=self.threads)
        self.night = open_frames(night, classes, sizes.size, threads=self.threads)
        self.referenced = sum(bool(row.reference) for row in self.night.rows)

    def training(
        self,
        *,
        parts: Mapping[str, Any],
        images: int,
        inputs: Mapping[str, Path] | None = None,
        steps: int | None = None,
    ) -> Training:
        """The training of `parts` for `steps` (by default the section's), resumed where an earlier process left it.

        images: the number of images per step. inputs: the files besides the data that the result depends on.
        """
        for part in parts.values():
            if isinstance(part, nn.Module):
                recompute(part, self.config.compute.memory)
        return Training(
            stage=self.stage,
            steps=self.config.steps if steps is None else steps,
            parts=parts,
            state=self.model.parent / "state",
            fingerprint=fingerprint(self.config, {**(inputs or {}), **self.data}, self.seed),
            seed=self.seed,
            images=images,
            device=self.device,
            log=self.log,
            compute=self.config.compute,
        )

    def day_batch(self, step: int, draw: Draw | None = None) -> DayBatch:
        """The labelled batch of `step`; `draw` chooses its images where it is given."""
        return day_batch(self.labelled, step, draw=draw, **self._sampling)

    def batches(
        self, pseudo: PseudoLabels | None = None, draw: Draw | None = None
    ) -> Callable[[int], tuple[DayBatch, NightBatch]]:
        """The function from a step to its labelled and unlabelled batch, the latter with labels from `pseudo`."""
        return lambda step: (
            self.day_batch(step, draw),
            night_batch(self.night, step, pseudo=pseudo, **self._sampling),
        )

    def finish(self, training: Training, segmenter: Segmenter, metrics: Path, *, statistics: bool = True) -> None:
        """Write the model with its provenance, and publish the metrics.

        statistics: whether to set the normalisation statistics first. A model that is never evaluated needs none.
        """
        if statistics:
            set_statistics(segmenter, day=self.day, night=self.night, device=self.device)
        save_segmenter(segmenter, self.model, **self.provenance)
        training.publish(metrics)

    def _check_compilation(self) -> None:
        """ConfigError where the section cannot be compiled, DeviceError where this machine cannot compile."""
        why_not = uncompilable(self.config.compute.model_dump(), processes.count())
        if why_not:
            raise ConfigError(f"{self.stage}: {why_not}")
        check_compiler(self.device)
        self.log.say("the networks are compiled as they are first called, which takes minutes")

    @property
    def provenance(self) -> dict[str, Any]:
        """Where a result comes from: the stage, the seed, its section, PyTorch's version and the device."""
        config = self.config.model_dump(mode="json")
        return {"stage": self.stage, "seed": self.seed, "config": config, **environment(self.device)}

    @property
    def _sampling(self) -> dict[str, Any]:
        return {"batch_size": self.config.batch_size, "crop": self.config.input.crop, "seed": self.seed}
