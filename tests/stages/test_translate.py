"""The stage `translate`, and adaptation on what it writes, on the miniature town."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import open_frames
from loopda.data.manifest import read_manifest
from loopda.errors import ConfigError
from loopda.methods.cyclegan import CycleGAN
from loopda.models.checkpoint import load_checkpoint
from loopda.models.translator import Translator
from loopda.stages.translate import train
from loopda.training import stage as training_stage


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
    for kept in (every, {"adversarial"}):
        weights = {name: float(name in kept) for name in every}
        miniature.run("translate", tmp_path / "out", config=miniature.section("translate", steps=2, weights=weights))
        assert terms(tmp_path / "out") & every == kept


def test_a_discriminator_too_deep_for_the_crop_is_refused_by_its_key(miniature, tmp_path):
    discriminators = {**miniature.section("translate").discriminators.model_dump(), "layers": 4}
    section = miniature.section("translate", discriminators=discriminators)
    with pytest.raises(ConfigError, match=r"translate\.discriminators\.layers: 4 .* 48x32"):
        miniature.run("translate", tmp_path / "out", config=section)


# ---------------------------------------------------------------- what is minimised


class Adds(nn.Module):
    """A generator of one number, which it adds."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images):
        return images + self.value


class Scores(nn.Module):
    """A discriminator whose score is its number times the mean of an image."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images):
        return self.value * images.mean(dim=(1, 2, 3))


@pytest.fixture
def config(miniature):
    """The section with the weight 1 for each term."""
    every = {"adversarial": 1.0, "cycle": 1.0, "identity": 1.0, "semantic": 1.0}
    return miniature.section("translate", weights=every)


@pytest.fixture
def nets(config):
    """Generators that add 0.5 to make night and take 0.25 to make day; the scores are 2 and 3 times the mean."""
    networks = CycleGAN(config.generators, config.discriminators, config.input)
    networks.generators = nn.ModuleDict({"night": Adds(0.5), "day": Adds(-0.25)})
    networks.discriminators = nn.ModuleDict({"night": Scores(2.0), "day": Scores(3.0)})
    networks.image_buffers = nn.ModuleDict({"night": nn.Identity(), "day": nn.Identity()})
    return networks


class OneStep:
    """In the place of a Training: one step, whose losses and terms are kept and not descended along."""

    def __init__(self):
        self.losses = []

    def over(self, batches):
        yield 1, batches(1)

    def descend(self, loss, optimizer):
        self.losses.append((optimizer, loss))

    def record(self, **terms):
        self.terms = terms


def step(config, nets, task_network):
    """The terms of the generators, their total, and the loss of the discriminators, of one pair of images."""
    x_d, x_n = torch.full((1, 3, 4, 4), 0.1), torch.full((1, 3, 4, 4), -0.4)  # translated to 0.6 and -0.65
    batches = DayBatch(x_d, None, None), NightBatch(x_n, None, None, None, None, None)
    optimizers = {
        "generator_optimizer": torch.optim.SGD(nets.generators.parameters()),
        "discriminator_optimizer": torch.optim.SGD(nets.discriminators.parameters()),
    }
    for optimizer in optimizers.values():
        optimizer.param_groups[0]["initial_lr"] = 1.0
    training = OneStep()
    train(config, nets, task_network, optimizers, training, lambda _: batches)
    (generator, total), (discriminator, loss) = training.losses
    assert (generator, discriminator) == tuple(optimizers.values())
    terms = dict(training.terms)
    assert terms.pop("discriminators") is loss
    return terms, total, loss


def logits_above(threshold):
    """A fixed model that sees class 1 where an image is above `threshold`, and is the surer the further it is."""
    return lambda images: torch.stack([threshold - images[:, 0], images[:, 0] - threshold], dim=1)


def test_each_term_is_the_number_computed_by_hand_from_the_equations(config, nets):
    found, total, loss = step(config, nets, {"day": logits_above(0.0), "night": logits_above(0.5)})
    # equation 2: D_n(0.6) = 1.2 and D_d(-0.65) = -1.95 should be 1
    assert found["adversarial"].item() == pytest.approx((1.2 - 1) ** 2 + (-1.95 - 1) ** 2, rel=1e-5)
    # equation 3: 0.1 comes back as 0.35, and -0.4 as -0.15
    assert found["cycle"].item() == pytest.approx(0.25 + 0.25, rel=1e-5)
    # a day image made day is 0.25 less, a night image made night 0.5 more
    assert found["identity"].item() == pytest.approx(0.25 + 0.5, rel=1e-5)
    # equation 4: day saw class 1 in 0.1, night sees 0.6 with logits -0.1, 0.1; night saw 0 in -0.4, day sees -0.65
    expected = math.log(1 + math.exp(-0.2)) + math.log(1 + math.exp(-1.3))
    assert found["semantic"].item() == pytest.approx(expected, rel=1e-5)
    # equation 6
    assert total.item() == pytest.approx(sum(term.item() for term in found.values()), rel=1e-5)
    # the scores of D_n are -0.8 for the night and 1.2 for its translation, of D_d 0.3 and -1.95; they should be 1 and 0
    assert loss.item() == pytest.approx((-0.8 - 1) ** 2 + 1.2**2 + (0.3 - 1) ** 2 + 1.95**2, rel=1e-5)


def test_generators_learn_from_every_term_discriminators_from_their_loss_and_the_frozen_model_from_nothing(
    config, nets
):
    frozen = nn.Linear(1, 2).requires_grad_(False)
    network = dict.fromkeys(("day", "night"), lambda images: frozen(images[:, :1].movedim(1, -1)).movedim(-1, 1))
    found, _, loss = step(config, nets, network)
    for name, term in found.items():
        reached = torch.autograd.grad(term, [*nets.generators.parameters()], retain_graph=True, allow_unused=True)
        assert all(value is not None for value in reached), name
        reached = torch.autograd.grad(term, [*nets.discriminators.parameters()], retain_graph=True, allow_unused=True)
        assert all(value is None for value in reached), name
    loss.backward()
    assert all(value.grad is not None for value in nets.discriminators.parameters())


# ---------------------------------------------------------------- adaptation on it


def test_adaptation_learns_from_translated_images_and_takes_its_day_statistics_from_real_ones(
    miniature, tmp_path, monkeypatch
):
    seen = {}
    trained, estimate = training_stage.day_batch, training_stage.set_statistics

    def day_batch(frames, *arguments, **settings):
        seen.update(batch=frames)
        return trained(frames, *arguments, **settings)

    def set_statistics(*arguments, **frames):
        seen.update(frames)
        return estimate(*arguments, **frames)

    monkeypatch.setattr(training_stage, "day_batch", day_batch)
    monkeypatch.setattr(training_stage, "set_statistics", set_statistics)
    translated = miniature.path("translate", "source.csv")
    section = miniature.method("cycada")
    miniature.run("adapt", tmp_path / "out", config=section, translated=translated)
    assert seen["batch"].rows == read_manifest(translated)
    assert seen["day"].rows == read_manifest(miniature.path("prepare", "source.csv"))


def test_a_method_that_reads_translated_images_is_refused_without_them_and_another_one_with_them(miniature, tmp_path):
    section = miniature.method("cycada")
    with pytest.raises(ConfigError, match=r"methods\.cycada: .*--translated"):
        miniature.run("adapt", tmp_path / "out", config=section)
    translated = miniature.path("translate", "source.csv")
    for other in (miniature.method("cycada", pixel=False), miniature.section("adapt")):
        with pytest.raises(ConfigError, match="leave out --translated"):
            miniature.run("adapt", tmp_path / "out", config=other, translated=translated)
