"""The stage `translate`, and adaptation on what it writes, on the miniature town."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from loopda.data.dataset import open_frames
from loopda.data.manifest import read_manifest
from loopda.errors import ConfigError
from loopda.models.segmenter import load_checkpoint
from loopda.models.translator import Translator
from loopda.training import job


def method(miniature, **changes):
    """The section of the method cycada in the miniature."""
    return {"name": "cycada", **miniature.config["methods"]["cycada"], "discriminator_width": 4, **changes}


def terms(out):
    return {key for line in (out / "metrics.jsonl").read_text().splitlines() for key in json.loads(line)}


def test_the_translated_set_has_the_labels_of_the_source_and_an_image_of_its_own_for_each(miniature):
    source = read_manifest(miniature.path("prepare", "source.csv"))
    translated = read_manifest(miniature.path("translate", "source.csv"))
    assert [row.label for row in translated] == [row.label for row in source]
    assert [row.encoding for row in translated] == [row.encoding for row in source]
    assert not {row.image for row in translated} & {row.image for row in source}
    assert not {row.content for row in translated} & {row.content for row in source}
    assert all((row.width, row.height) == Image.open(row.image).size == (64, 32) for row in translated)


def test_a_stage_that_trains_sees_the_same_label_maps_in_both_sets(miniature):
    classes = miniature.path("prepare", "classes.json")
    size = miniature.section("translate").input.labelled_day
    source = open_frames(miniature.path("prepare", "source.csv"), classes, size)
    translated = open_frames(miniature.path("translate", "source.csv"), classes, size)
    for index in range(len(source)):
        assert np.array_equal(source.label(index), translated.label(index))
        assert not np.array_equal(source.image(index), translated.image(index))


def test_the_written_generators_make_the_written_images(miniature):
    section = miniature.section("translate").generators
    network = Translator(width=section.width, levels=section.levels, residual_blocks=section.residual_blocks)
    network.load_state_dict(load_checkpoint(miniature.path("translate", "generators.pt"))["generators"]["night"])
    frames = open_frames(miniature.path("prepare", "source.csv"), miniature.path("prepare", "classes.json"), (64, 32))
    written = read_manifest(miniature.path("translate", "source.csv"))
    image = torch.from_numpy(frames.image(3).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        made = ((network(image)[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    assert np.abs(made - np.asarray(Image.open(written[3].image), dtype=np.float32)).max() <= 1


def test_the_contact_sheet_shows_day_translated_and_night_side_by_side(miniature):
    sheet = Image.open(miniature.path("translate", "contact_sheet.png"))
    rows = miniature.section("translate").pictures
    assert sheet.width > 3 * 320
    assert sheet.height > rows * 160


def test_a_term_of_weight_0_is_left_out(miniature, tmp_path):
    every = {"adversarial", "cycle", "identity", "semantic"}
    assert every <= terms(miniature.path("translate", "metrics.jsonl").parent)
    weights = {"adversarial": 1.0, "cycle": 0.0, "identity": 0.0, "semantic": 0.0}
    miniature.run("translate", tmp_path / "out", config=miniature.section("translate", steps=2, weights=weights))
    assert terms(tmp_path / "out") & every == {"adversarial"}


def test_a_discriminator_too_deep_for_the_crop_is_refused_by_its_key(miniature, tmp_path):
    discriminators = {**miniature.section("translate").discriminators.model_dump(), "layers": 4}
    section = miniature.section("translate", discriminators=discriminators)
    with pytest.raises(ConfigError, match=r"translate\.discriminators\.layers: 4 .* 48x32"):
        miniature.run("translate", tmp_path / "out", config=section)


# ---------------------------------------------------------------- adaptation on it


def test_adaptation_learns_from_translated_images_and_takes_its_day_statistics_from_real_ones(
    miniature, tmp_path, monkeypatch
):
    seen = {}
    trained, estimate = job.day_batch, job.set_statistics
    monkeypatch.setattr(job, "day_batch", lambda frames, *a, **b: seen.update(batch=frames) or trained(frames, *a, **b))
    monkeypatch.setattr(job, "set_statistics", lambda *a, **frames: seen.update(frames) or estimate(*a, **frames))
    translated = miniature.path("translate", "source.csv")
    section = miniature.section("adapt", method=method(miniature))
    miniature.run("adapt", tmp_path / "out", config=section, translated=translated)
    assert seen["batch"].rows == read_manifest(translated)
    assert seen["day"].rows == read_manifest(miniature.path("prepare", "source.csv"))


def test_a_method_that_reads_translated_images_is_refused_without_them_and_another_one_with_them(miniature, tmp_path):
    section = miniature.section("adapt", method=method(miniature))
    with pytest.raises(ConfigError, match=r"methods\.cycada: .*--translated"):
        miniature.run("adapt", tmp_path / "out", config=section)
    translated = miniature.path("translate", "source.csv")
    for other in (miniature.section("adapt", method=method(miniature, pixel=False)), miniature.section("adapt")):
        with pytest.raises(ConfigError, match="leave out --translated"):
            miniature.run("adapt", tmp_path / "out", config=other, translated=translated)
