"""Labelled day images of another shape than the night's, as Cityscapes beside Dark Zurich."""

import pytest

from loopda.models.checkpoint import load_segmenter
from loopda.stages import pretrain, warmup
from loopda.training.stage import TrainingStage

SIZES = {"size": [64, 32], "crop": [48, 32], "source_size": [48, 40]}


@pytest.mark.parametrize("stage", [pretrain, warmup], ids=["pretrain", "warmup"])
def test_a_stage_trains_on_labelled_day_images_of_a_size_of_their_own(miniature, tmp_path, monkeypatch, stage):
    name = stage.__name__.split(".")[-1]
    seen = {}

    def record_sizes(self, **paths):
        opened(self, **paths)
        seen.update(day=self.day.size, night=self.night.size)

    opened = TrainingStage.open_data
    monkeypatch.setattr(TrainingStage, "open_data", record_sizes)
    section = miniature.section(name, input=SIZES)
    stage.run(**miniature.arguments(name, tmp_path / name, config=section))
    assert seen == {"day": (48, 40), "night": (64, 32)}
    assert load_segmenter(tmp_path / name / "model.pt").input_size == (64, 32)  # what `predict` resizes night images to
