import os
import signal

import pytest
import torch
from checkpoints import small_network

from loopda.config import parse_section
from loopda.data.batches import DayBatch, NightBatch
from loopda.errors import Interrupted
from loopda.labels.classes import CITYSCAPES
from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.methods.cycada import Cycada, CycadaSettings
from loopda.models.checkpoint import load_checkpoint
from loopda.models.discriminator import ScoreDiscriminator
from loopda.models.segmenter import Segmenter
from loopda.training import loop

STEPS = 10


def settings(**changes):
    section = {
        "name": "cycada",
        "pixel": False,
        "supervised": 0.0,
        "adversarial": 0.1,
        "gate": 0.6,
        "window": 3,
        "discriminator_width": 8,
        "discriminator_dropout": 0.0,
        "discriminator_optimizer": {"name": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0},
        "alignment_optimizer": "same",
        "stop_after": 0,
    }
    return parse_section(section | changes, CycadaSettings, "methods.cycada")


@pytest.fixture
def case():
    """A segmenter, a labelled day batch and a night batch."""
    segmenter = Segmenter(small_network(dropout=0.0), CITYSCAPES).train()
    images = torch.rand(2, 2, 3, 16, 24) * 2 - 1
    nothing = torch.full((2, 16, 24), 255)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    night = NightBatch(images[1], images[1][:0], torch.zeros(2, dtype=torch.bool), nothing, nothing[:0], whole)
    return segmenter, DayBatch(images[0], torch.randint(0, 19, (2, 16, 24)), whole), night


def method_of(segmenter, **changes):
    return Cycada(settings(**changes), segmenter, None)


def with_accuracy(method, value):
    """`method`, whose discriminator is right in this share."""
    method.mean_accuracy = lambda _: torch.tensor(value)
    return method


def test_the_discriminator_of_the_authors_has_the_channels_of_the_facts():
    with torch.device("meta"):
        network = ScoreDiscriminator(classes=19, width=512, dropout=0.5)
        scores = network(torch.empty(2, 19, 5, 7))
    assert scores.shape == (2, 1, 5, 7)
    expected = (19 * 512 + 512) + (512 * 256 + 256) + (256 + 1)
    assert sum(value.numel() for value in network.parameters()) == expected


def test_the_first_share_of_the_steps_is_supervision_alone(case):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter, supervised=0.5), 0.9)
    for step in range(1, STEPS + 1):
        losses = method.losses(segmenter, day, night, step, STEPS)
        alone = step <= 5
        assert (losses.discriminators is None) == alone
        assert set(losses.terms) == ({"seg_d"} if alone else {"seg_d", "discriminators", "accuracy", "taught", "adv_n"})
    assert int(method.alignment_steps) == 0


def test_with_a_share_of_1_the_discriminator_is_never_trained(case):
    segmenter, day, night = case
    method = method_of(segmenter, supervised=1.0)
    losses = method.losses(segmenter, day, night, STEPS, STEPS)
    assert losses.discriminators is None
    assert torch.equal(losses.segmenter, losses.terms["seg_d"])


@pytest.mark.parametrize(("accuracy", "learns"), [(0.59, False), (0.6, False), (0.61, True), (1.0, True)])
def test_the_network_learns_from_source_and_discriminator_only_above_the_gate(case, accuracy, learns):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter), accuracy)
    losses = method.losses(segmenter, day, night, 1, STEPS)
    assert (losses.segmenter is not None) == learns == bool(losses.terms["taught"])
    assert losses.discriminators is not None
    if learns:
        expected = losses.terms["seg_d"] + 0.1 * losses.terms["adv_n"]
        assert torch.allclose(losses.segmenter, expected)


def test_the_losses_are_the_cross_entropies_of_the_score_maps(case):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter), 1.0)
    day_scores = method.discriminator(segmenter(day.images, aux=False).logits)
    night_scores = method.discriminator(segmenter(night.images, aux=False).logits)
    losses = method.losses(segmenter, day, night, 1, STEPS)
    discriminator_loss = domain_loss(scores=day_scores, domain=SOURCE, kind="bce") / 2
    discriminator_loss = discriminator_loss + domain_loss(scores=night_scores, domain=TARGET, kind="bce") / 2
    assert torch.allclose(losses.discriminators, discriminator_loss)
    adversarial_loss = domain_loss(scores=night_scores, domain=SOURCE, kind="bce")
    assert torch.allclose(losses.terms["adv_n"], adversarial_loss)


def test_the_discriminator_learns_without_the_network_and_the_network_without_the_discriminator(case):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter), 1.0)
    losses = method.losses(segmenter, day, night, 1, STEPS)
    assert not losses.terms["accuracy"].requires_grad
    for loss, network, discriminator in ((losses.segmenter, True, False), (losses.discriminators, False, True)):
        parts = [*segmenter.network.final2.parameters()]
        found = torch.autograd.grad(loss, parts, allow_unused=True, retain_graph=True)
        assert any(value is not None for value in found) == network
        found = torch.autograd.grad(loss, [*method.discriminator.parameters()], allow_unused=True, retain_graph=True)
        assert any(value is not None for value in found) == discriminator


def test_the_accuracy_is_the_mean_of_the_last_steps_and_of_guesses_for_those_that_there_were_not_yet(case):
    method = method_of(case[0])
    values = [0.2, 0.4, 0.9, 0.5, 0.1, 0.6, 0.8]
    found = [float(method.mean_accuracy(torch.tensor(value))) for value in values]
    before = [0.5, 0.5, 0.5, *values]
    expected = [sum(before[end : end + 3]) / 3 for end in range(1, len(values) + 1)]
    assert found == pytest.approx(expected)


def test_a_lucky_first_step_does_not_open_the_gate(case):
    segmenter, day, night = case
    method = method_of(segmenter, window=100)
    method.mean_accuracy(torch.tensor(1.0))
    assert method.losses(segmenter, day, night, 1, STEPS).segmenter is None


def test_the_accuracy_is_the_mean_over_the_domains_not_over_the_positions(case):
    segmenter, day, night = case
    method = method_of(segmenter)
    for parameter in method.discriminator.parameters():
        torch.nn.init.zeros_(parameter)  # says SOURCE everywhere: right about one domain of two
    more = DayBatch(day.images.repeat(3, 1, 1, 1), day.labels.repeat(3, 1, 1), day.boxes.repeat(3, 1))
    assert float(method.losses(segmenter, more, night, 1, STEPS).terms["accuracy"]) == 0.5


def test_what_the_gate_looks_at_is_in_the_state(case):
    method = method_of(case[0])
    for value in (0.2, 0.4, 0.9, 0.5):
        method.mean_accuracy(torch.tensor(value))
    resumed = method_of(case[0])
    resumed.load_state_dict(method.state_dict())
    following = [[float(one.mean_accuracy(torch.tensor(value))) for value in (0.7, 0.3)] for one in (method, resumed)]
    assert following[0] == following[1]


def assert_interrupted_is_uninterrupted(miniature, folder, monkeypatch, *, stopped, **changes):
    """Train twice, once stopped by a signal in the step after `stopped` and resumed: equal to the last bit."""
    method = {"discriminator_width": 4, "window": 2, "supervised": 0.5, "gate": 0.45} | changes
    method = {"name": "cycada", **miniature.config["methods"]["cycada"]} | method
    section = miniature.section("adapt", method=method)
    translated = miniature.path("translate", "source.csv")
    miniature.run("adapt", folder / "whole", config=section, translated=translated)
    record = loop.Training.record

    def terminated(self, **values):
        if self.step == stopped and not self.signal:
            os.kill(os.getpid(), signal.SIGTERM)
        record(self, **values)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "record", terminated)
        with pytest.raises(Interrupted):
            miniature.run("adapt", folder / "parts", config=section, translated=translated)
    miniature.run("adapt", folder / "parts", config=section, translated=translated)
    assert f"goes on after step {stopped + 1}" in (folder / "parts.log").read_text()
    whole, parts = (load_checkpoint(folder / name / "model.pt")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("stopped", [2, 4])
def test_interrupted_before_and_during_the_alignment_it_ends_as_if_it_had_not_been(
    miniature, tmp_path, monkeypatch, stopped
):
    assert_interrupted_is_uninterrupted(miniature, tmp_path, monkeypatch, stopped=stopped)


SGD = {"name": "sgd", "lr": 1e-3, "head_factor": 1.0, "momentum": 0.99, "weight_decay": 0.0, "power": 0.0}


def test_the_alignment_has_its_own_optimiser_and_rate_and_the_supervision_before_it_the_stages(case):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter, supervised=0.5, alignment_optimizer=SGD | {"power": 1.0}), 0.9)
    optimizer = method.optimizers()["alignment"]
    assert {(group["lr"], group["momentum"]) for group in optimizer.param_groups} == {(1e-3, 0.99)}
    optimizers = [method.losses(segmenter, day, night, step, STEPS).optimizer for step in range(1, STEPS + 1)]
    assert optimizers == ["segmenter"] * 5 + ["alignment"] * 5
    assert [method.factors(step, STEPS) for step in (1, 5)] == [{}, {}]
    assert [method.factors(step, STEPS)["alignment"] for step in (6, 7, 10)] == pytest.approx([1.0, 0.8, 0.2])


def test_without_an_optimiser_of_its_own_the_alignment_goes_on_with_the_stages(case):
    segmenter, day, night = case
    method = with_accuracy(method_of(segmenter), 0.9)
    assert set(method.optimizers()) == {"discriminators"}
    assert method.losses(segmenter, day, night, 1, STEPS).optimizer == "segmenter"
    assert method.factors(1, STEPS) == {}


def test_the_discriminator_learns_by_the_optimiser_that_is_named(case):
    given = {"name": "sgd", "lr": 1e-5, "momentum": 0.99, "weight_decay": 5e-4}
    optimizer = method_of(case[0], discriminator_optimizer=given).optimizers()["discriminators"]
    assert isinstance(optimizer, torch.optim.SGD)
    assert {(group["lr"], group["momentum"]) for group in optimizer.param_groups} == {(1e-5, 0.99)}


def test_an_epoch_without_a_suitable_discriminator_ends_the_adaptation_and_one_that_is_found_counts_anew(case):
    segmenter, day, night = case
    method = method_of(segmenter, stop_after=3)
    accuracies = iter([0.5, 0.5, 0.9, 0.5, 0.5, 0.5, 0.9])
    method.mean_accuracy = lambda _: torch.tensor(next(accuracies))
    found = [method.losses(segmenter, day, night, step, STEPS) for step in range(1, 9)]
    assert [losses.segmenter is not None for losses in found] == [False, False, True] + [False] * 5
    assert [losses.discriminators is not None for losses in found] == [True] * 6 + [False] * 2
    assert next(accuracies) == 0.9  # nobody asked for it
    resumed = method_of(segmenter, stop_after=3)
    resumed.load_state_dict(method.state_dict())
    assert resumed.losses(segmenter, day, night, 9, STEPS).discriminators is None


def test_the_papers_alignment_trains_and_goes_on_exactly_where_it_was_killed(miniature, tmp_path, monkeypatch):
    discriminator = {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
    changes = {"alignment_optimizer": SGD, "discriminator_optimizer": discriminator}
    assert_interrupted_is_uninterrupted(miniature, tmp_path, monkeypatch, stopped=4, **changes)
