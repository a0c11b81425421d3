import hashlib

import pytest
import torch
from checkpoints import small_network
from domains import CLASSES
from loops import CheapDistance, loop_settings
from torch.nn import functional

import loopda.methods.loopda as module
from loopda.errors import ConfigError, DataError
from loopda.methods.loopda import Loops, load_loops, save_loops
from loopda.models.perceptual import FeatureDistance
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import descend
from loopda.weights.catalogue import CATALOGUE, PublishedWeights

SIZE = (16, 24)
ENC = {"layer0", "layer1", "layer2", "layer3", "layer4"}
F, DEC_D, DEC_N, D_D, D_N = "F", "Dec_d", "Dec_n", "D_d", "D_n"


@pytest.fixture(autouse=True)
def cheap_distance(monkeypatch):
    def build(net, trunk):
        CheapDistance.asked_for = (net, trunk)
        return CheapDistance()

    monkeypatch.setattr(module, "Lpips", build)


def networks(**changes):
    segmenter = Segmenter(small_network(dropout=0.0), CLASSES).train()
    return segmenter, Loops(loop_settings(**changes), segmenter)


class Data:
    def __init__(self):
        self.day, self.night, self.reference = torch.rand(3, 2, 3, *SIZE) * 2 - 1
        self.labels = torch.tensor([0, 1, 2, 3, 255])[torch.randint(0, 5, (2, *SIZE))]

    @property
    def images(self):
        return {"ud": self.reference, "d": self.day, "n": self.night}


def all_terms(segmenter, loops, **how):
    data = Data()
    result = loops(segmenter, data.images, data.labels, **how)
    adversarial = {f"adv_{k}": loops.adversarial_loss(k, image) for k, image in result.translations.items()}
    return result.terms | adversarial


def groups(segmenter, loops):
    net = segmenter.network
    parts = {name: getattr(net, name) for name in sorted(ENC)} | {"aux": net.final1, F: net.final2}
    parts |= {DEC_D: loops.decoders["day"], DEC_N: loops.decoders["night"]}
    parts |= {D_D: loops.discriminators["day"], D_N: loops.discriminators["night"]}
    return {name: list(part.parameters()) for name, part in parts.items()}


def reached(loss, segmenter, loops):
    """The sub-networks that get a gradient other than zero from `loss`."""
    found = set()
    for name, parameters in groups(segmenter, loops).items():
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        if any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients):
            found.add(name)
    return found


# where gradients may and may not flow: section 3.1 of the paper, and the facts' table of losses

REACHES = {
    "seg_d": ENC | {F, "aux"},
    "inner_d": ENC | {DEC_D},
    "adv_d2n": ENC | {DEC_N},
    "percep_d": ENC | {DEC_N},
    "seg_d2n": ENC | {F, "aux", DEC_N},
    "outer_d": ENC | {DEC_D, DEC_N},
    "inner_n": ENC | {F, DEC_N},
    "adv_n2d": ENC | {F, DEC_D},
    "percep_n": ENC | {F, DEC_D},
    "outer_n": ENC | {F, DEC_D, DEC_N},
    "inner_ud": ENC | {F, DEC_D},
}


@pytest.fixture(scope="module")
def everything():
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Lpips", lambda net, trunk: CheapDistance())
        segmenter, loops = networks()
    return segmenter, loops, all_terms(segmenter, loops)


def test_the_loops_have_these_terms_and_no_other(everything):
    assert set(everything[2]) == set(REACHES)


@pytest.mark.parametrize("term", REACHES)
def test_the_gradient_of_each_term_reaches_the_networks_of_the_papers_table(everything, term):
    segmenter, loops, terms = everything
    assert reached(terms[term], segmenter, loops) == REACHES[term]


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("term", ["inner_n", "inner_ud", "adv_n2d", "outer_n"])
def test_nights_terms_reach_the_classifier_only_through_the_rendering(term, coarse):
    segmenter, loops = networks(decoders={"coarse_rendering": coarse})
    assert F in reached(all_terms(segmenter, loops)[term], segmenter, loops)
    segmenter, loops = networks(decoders={"rendering": "none", "coarse_rendering": coarse})
    assert reached(all_terms(segmenter, loops)[term], segmenter, loops) == REACHES[term] - {F}


@pytest.mark.parametrize("term", ["inner_n", "inner_ud"])
def test_with_a_detached_map_the_nights_inner_loop_would_not_reach_the_classifier(term, monkeypatch):
    segmenter, loops = networks()
    original = module.probabilities
    monkeypatch.setattr(module, "probabilities", lambda outputs: original(outputs).detach())
    assert reached(all_terms(segmenter, loops)[term], segmenter, loops) == REACHES[term] - {F}


@pytest.mark.parametrize("part", ["z", "lpips"])
@pytest.mark.parametrize("term", ["percep_d", "percep_n"])
def test_both_parts_of_the_perceptual_loss_train_the_translation_not_its_original(term, part):
    # equation 4: the features of the original image are a constant, those of the translation are not
    other = {"z": "lpips", "lpips": "z"}[part]
    segmenter, loops = networks(weights={other: 0.0})
    assert reached(all_terms(segmenter, loops)[term], segmenter, loops) == REACHES[term]


def test_decoders_of_the_second_layer_leave_the_deeper_ones_to_the_rendering():
    segmenter, loops = networks(decoders={"features": "layer2"})
    terms = all_terms(segmenter, loops)
    assert reached(terms["inner_d"], segmenter, loops) == {"layer0", "layer1", "layer2", DEC_D}
    assert reached(terms["inner_n"], segmenter, loops) == ENC | {F, DEC_N}


@pytest.mark.parametrize("term", REACHES)
def test_detaching_the_translation_keeps_its_supervision_and_nothing_else_from_the_night_decoder(term):
    segmenter, loops = networks(detach_translated=True)
    behind = {"seg_d2n": {DEC_N}}.get(term, set())
    assert reached(all_terms(segmenter, loops)[term], segmenter, loops) == REACHES[term] - behind


def test_the_auxiliary_head_learns_only_when_its_weight_is_not_zero():
    segmenter, loops = networks(weights={"aux": 0.0})
    terms = all_terms(segmenter, loops)
    assert reached(terms["seg_d"], segmenter, loops) == ENC | {F}
    assert reached(terms["seg_d2n"], segmenter, loops) == ENC | {F, DEC_N}


ALONE = {"inner_d": DEC_D, "inner_n": DEC_N, "inner_ud": DEC_D}
ALONE |= {"percep_d": DEC_N, "adv_d2n": DEC_N, "percep_n": DEC_D, "adv_n2d": DEC_D}


def test_while_the_decoders_learn_alone_each_term_reaches_one_decoder_and_nothing_is_encoded_again():
    segmenter, loops = networks()
    terms = all_terms(segmenter, loops, decoders_alone=True)
    assert {name: reached(terms[name], segmenter, loops) for name in terms} == {
        name: {decoder} for name, decoder in ALONE.items()
    }
    again = all_terms(segmenter, loops)
    assert {name: reached(again[name], segmenter, loops) for name in again} == REACHES


def test_while_the_decoders_learn_alone_a_step_leaves_the_segmentation_network_as_it_is():
    segmenter, loops = networks()
    parameters = list(segmenter.network.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=0.1)
    before = [value.detach().clone() for value in parameters]
    descend(loops.total(all_terms(segmenter, loops, decoders_alone=True)), optimizer)
    assert all(torch.equal(value, old) for value, old in zip(parameters, before, strict=True))


def test_while_the_decoders_learn_alone_the_perceptual_loss_is_the_similarity_of_the_images():
    segmenter, loops = networks()
    data = Data()
    x = {"d": data.day, "n": data.night}
    terms, _, translations = loops(segmenter, x, data.labels, decoders_alone=True)
    x_d2n, x_n2d = translations["d2n"], translations["n2d"]
    assert terms["percep_d"].item() == pytest.approx(0.25 * CheapDistance()(x_d2n, data.day).item())
    assert terms["percep_n"].item() == pytest.approx(0.25 * CheapDistance()(x_n2d, data.night).item())


@pytest.mark.parametrize("alone", [False, True])
def test_the_loops_keep_the_gradient_setting_of_their_caller(alone):
    segmenter, loops = networks()
    with torch.no_grad():
        terms = all_terms(segmenter, loops, decoders_alone=alone)
        assert not any(term.requires_grad for term in terms.values())
        _, outputs, _ = loops(segmenter, {"n": Data().night}, Data().labels, decoders_alone=alone)
        assert not outputs["n"].logits.requires_grad
    all_terms(segmenter, loops, decoders_alone=alone)
    assert torch.is_grad_enabled()


def test_a_backward_pass_of_the_total_leaves_no_gradient_in_the_discriminators():
    segmenter, loops = networks()
    loops.total(all_terms(segmenter, loops)).backward()
    assert all(value.grad is None for value in loops.discriminators.parameters())
    assert any(value.grad is not None for value in loops.decoders.parameters())


@pytest.mark.parametrize("references", [0, 1, 2])
def test_the_discriminators_loss_reaches_them_and_nothing_else(references):
    segmenter, loops = networks()
    data = Data()
    real = data.images | {"ud": data.reference[:references]}
    translations = loops(segmenter, data.images, data.labels).translations
    for name, own in (("d2n", D_N), ("n2d", D_D)):
        loss = loops.discriminator_loss(name, translations[name], real)
        assert reached(loss, segmenter, loops) == {own}
        # the translation is still there for the generators' term
        loss = loops.adversarial_loss(name, translations[name])
        assert reached(loss, segmenter, loops) == REACHES[f"adv_{name}"]


# values: the equations of section 3.1, transcribed


def mean_absolute(first, second):
    return float((first - second).abs().mean())


def softmax(logits):
    exponentials = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def fused(p, labels, alpha):
    out = p.clone()
    for n in range(p.shape[0]):
        for i in range(p.shape[2]):
            for j in range(p.shape[3]):
                y = int(i * (SIZE[0] - 1) / (p.shape[2] - 1) + 0.5)  # aligned corners: the nearest pixel
                x = int(j * (SIZE[1] - 1) / (p.shape[3] - 1) + 0.5)
                label = int(labels[n, y, x])
                if label != 255:
                    onehot = torch.eye(p.shape[1])[label]
                    out[n, :, i, j] = alpha * p[n, :, i, j] + (1 - alpha) * onehot
    return out


def cross_entropy(logits, labels):
    full = functional.interpolate(logits, size=SIZE, mode="bilinear", align_corners=True)
    log_p = softmax(full).log()
    values = [
        -float(log_p[n, labels[n, i, j], i, j])
        for n in range(len(labels))
        for i in range(SIZE[0])
        for j in range(SIZE[1])
        if labels[n, i, j] != 255
    ]
    return sum(values) / len(values)


def supervised(outputs, labels):
    return cross_entropy(outputs.logits, labels) + 0.1 * cross_entropy(outputs.aux, labels)


def test_the_terms_of_the_labelled_day_are_equations_1_to_6():
    segmenter, loops = networks(weights={"fusion": 0.3})
    dec_d, dec_n = loops.decoders["day"], loops.decoders["night"]
    distance = CheapDistance()
    data = Data()
    terms, _, translations = loops(segmenter, {"d": data.day}, data.labels)
    with torch.no_grad():
        outputs = segmenter(data.day)
        z, p = outputs.features, fused(softmax(outputs.logits), data.labels, 0.3)
        translated = dec_n(z, p, SIZE)
        again = segmenter(translated)
        z_d2n, p_d2n = again.features, fused(softmax(again.logits), data.labels, 0.3)
        expected = {
            "seg_d": supervised(outputs, data.labels),
            "inner_d": mean_absolute(dec_d(z, p, SIZE), data.day),
            "seg_d2n": supervised(again, data.labels),
            "percep_d": 0.1 * mean_absolute(z_d2n, z) + 0.25 * float(distance(translated, data.day)),
            "outer_d": mean_absolute(dec_d(z_d2n, p_d2n, SIZE), data.day),
        }
    assert torch.allclose(translations["d2n"], translated, atol=1e-5)
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(expected, rel=1e-4)


def test_the_terms_of_the_night_are_their_mirror_image_without_labels():
    segmenter, loops = networks()
    dec_d, dec_n = loops.decoders["day"], loops.decoders["night"]
    distance = CheapDistance()
    data = Data()
    terms, found, translations = loops(segmenter, {"n": data.night}, data.labels)
    with torch.no_grad():
        outputs = segmenter(data.night)
        z, p = outputs.features, softmax(outputs.logits)
        translated = dec_d(z, p, SIZE)
        again = segmenter(translated)
        z_n2d, p_n2d = again.features, softmax(again.logits)
        expected = {
            "inner_n": mean_absolute(dec_n(z, p, SIZE), data.night),
            "percep_n": 0.1 * mean_absolute(z_n2d, z) + 0.25 * float(distance(translated, data.night)),
            "outer_n": mean_absolute(dec_n(z_n2d, p_n2d, SIZE), data.night),
        }
    assert torch.allclose(translations["n2d"], translated, atol=1e-5)
    assert torch.allclose(found["n"].logits, outputs.logits, atol=1e-5)
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(expected, rel=1e-4)


def test_the_reference_has_an_inner_loop_through_the_day_decoder_and_no_other():
    segmenter, loops = networks()
    data = Data()
    terms, outputs, translations = loops(segmenter, {"ud": data.reference}, data.labels)
    with torch.no_grad():
        image = loops.decoders["day"](outputs["ud"].features, softmax(outputs["ud"].logits), SIZE)
    assert (list(terms), translations) == (["inner_ud"], {})
    assert float(terms["inner_ud"].detach()) == pytest.approx(mean_absolute(image, data.reference), rel=1e-4)


@pytest.mark.parametrize("references", [0, 1, 2])
def test_the_discriminators_take_labelled_days_and_references_for_real_and_translations_for_fake(references):
    _, loops = networks()
    d_d, d_n = loops.discriminators["day"], loops.discriminators["night"]
    day, night, reference = torch.rand(3, 2, 3, *SIZE) * 2 - 1
    d2n, n2d = torch.rand(2, 2, 3, *SIZE)
    real = {"ud": reference[:references], "d": day, "n": night} if references else {"d": day, "n": night}
    loss = loops.discriminator_loss("d2n", d2n, real)
    expected = (d_n(night)[0] - 1).square().mean() + d_n(d2n)[0].square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss = loops.discriminator_loss("n2d", n2d, real)
    expected = (d_d(day)[0] - 1).square().mean() + d_d(n2d)[0].square().mean()
    if references:
        expected += (d_d(reference[:references])[0] - 1).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss = loops.adversarial_loss("d2n", d2n)
    assert loss.item() == pytest.approx((d_n(d2n)[0] - 1).square().mean().item(), rel=1e-5)
    loss = loops.adversarial_loss("n2d", n2d)
    assert loss.item() == pytest.approx((d_d(n2d)[0] - 1).square().mean().item(), rel=1e-5)


def test_the_total_weighs_each_term_by_its_family():
    _, loops = networks()
    names = ["seg_d", "seg_ud", "inner_n", "outer_d", "adv_n2d", "percep_n"]
    terms = {name: torch.tensor(10.0**power) for power, name in enumerate(names)}
    # seg 1.25, inner 1, outer 2, adv 0.1, percep 3
    expected = 1.25 * 1 + 1.25 * 10 + 1 * 100 + 2 * 1000 + 0.1 * 10_000 + 3 * 100_000
    assert float(loops.total(terms)) == pytest.approx(expected)


# ablations


def test_without_inner_loops_only_those_of_the_outer_one_are_left():
    assert set(all_terms(*networks(inner_loop=False))) == set(REACHES) - {"inner_d", "inner_n", "inner_ud"}


def test_without_the_outer_loop_only_the_inner_ones_and_the_supervision_are_left():
    terms = all_terms(*networks(outer_loop=False))
    assert set(terms) == {"seg_d", "inner_d", "inner_n", "inner_ud"}


def test_without_rendering_the_decoders_have_no_semantic_layers():
    _, loops = networks(decoders={"rendering": "none"})
    assert not [name for name in loops.state_dict() if "rendering" in name]


# what belongs to whom


def test_each_optimiser_owns_its_networks_and_the_perceptual_distance_belongs_to_none(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    _, loops = networks(decoders={"perceptual": "lpips-vgg", "lpips_weights": str(tmp_path / "vgg.pth")})
    assert [str(part) for part in CheapDistance.asked_for] == ["vgg", str(tmp_path / "vgg.pth")]
    for key in ("decoders", "discriminators"):
        (group,) = loops.optimizers()[key].param_groups
        own = {id(value) for value in getattr(loops, key).parameters()}
        assert {id(value) for value in group["params"]} == own
        assert group["betas"] == (0.5, 0.999)
        assert group["lr"] == group["initial_lr"] == {"decoders": 1e-3, "discriminators": 1e-4}[key]
    assert {name.split(".")[0] for name in loops.state_dict()} == {"decoders", "discriminators"}


def test_the_trunk_of_the_perceptual_distance_may_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    content = b"published"
    entry = PublishedWeights("vgg16.pth", "", hashlib.sha256(content).hexdigest(), "")
    monkeypatch.setitem(CATALOGUE, "vgg16", entry)
    (tmp_path / "vgg16.pth").write_bytes(content)
    networks(decoders={"perceptual": "lpips-vgg", "lpips_weights": "vgg16"})
    assert [str(part) for part in CheapDistance.asked_for] == ["vgg", str(tmp_path / "vgg16.pth")]
    (tmp_path / "vgg16.pth").write_bytes(b"another file")
    with pytest.raises(DataError, match=r"vgg16\.pth: its SHA-256 is"):
        networks(decoders={"perceptual": "lpips-vgg", "lpips_weights": "vgg16"})


def test_the_distance_of_efficientnet_takes_the_place_of_lpips_and_belongs_to_no_optimiser():
    CheapDistance.asked_for = ()
    _, loops = networks(decoders={"perceptual": "efficientnet-lite0"})
    assert isinstance(loops.perceptual, FeatureDistance)
    assert CheapDistance.asked_for == ()
    assert {name.split(".")[0] for name in loops.state_dict()} == {"decoders", "discriminators"}
    _, loops = networks(decoders={"perceptual": "efficientnet-lite0"}, outer_loop=False)
    assert loops.perceptual is None


def test_weights_of_lpips_that_no_distance_would_read_are_refused():
    with pytest.raises(ConfigError, match=r"lpips_weights: 'alexnet' is not empty.*set loops\.decoders\.perceptual"):
        loop_settings(decoders={"perceptual": "efficientnet-lite0", "lpips_weights": "alexnet"})


@pytest.mark.parametrize("term", ["percep_d", "percep_n"])
def test_the_distance_of_efficientnet_trains_the_translation_not_its_original(term):
    segmenter, loops = networks(decoders={"perceptual": "efficientnet-lite0"}, weights={"z": 0.0})
    assert reached(all_terms(segmenter, loops)[term], segmenter, loops) == REACHES[term]


def test_saved_loops_are_loaded_bit_for_bit(tmp_path):
    segmenter, loops = networks()
    save_loops(loops, tmp_path / "loops.pt")
    other = Loops(loop_settings(), segmenter)
    load_loops(other, tmp_path / "loops.pt")
    mine, theirs = loops.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_loops_of_other_settings_are_refused_by_the_files_name(tmp_path):
    segmenter, loops = networks()
    save_loops(loops, tmp_path / "loops.pt")
    wider = Loops(loop_settings(decoders={"width": 16}), segmenter)
    with pytest.raises(DataError, match=r"loops\.pt: .*decoder settings of warmup"):
        load_loops(wider, tmp_path / "loops.pt")
    torch.save([1], tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt"):
        load_loops(loops, tmp_path / "other.pt")
