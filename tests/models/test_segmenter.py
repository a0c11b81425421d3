import copy

import pytest
import torch
from checkpoints import Payload, small_network
from torch import nn
from torchvision.models import ResNet101_Weights

import loopda
from loopda.errors import DataError, DeviceError
from loopda.labels.classes import ClassList, Encoding
from loopda.models.segmenter import (
    Segmenter,
    content_digest,
    copy_backbone,
    estimate_statistics,
    load_checkpoint,
    load_segmenter,
    running_statistics,
    save_checkpoint,
    save_segmenter,
    upsample,
)
from loopda.weights.exchange import write_safetensors

CLASSES = ClassList(
    names=("road", "pole", "sky", "car"),
    colours=((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)),
    dynamic=frozenset({3}),
    ssc=frozenset({1}),
    encodings={"ids": Encoding(((7,), (8, 9), (), (3,)), frozenset({0, 255}))},
)


def segmenter(bn_pretrain=False, **changes):
    return Segmenter(small_network(**changes), CLASSES, bn_pretrain=bn_pretrain)


def images(count=2, size=(16, 16)):
    return torch.rand(count, 3, *size) * 2 - 1


# what the network sees


def seen_by_the_network(model, rgb):
    """The network's input for an image of one colour, given in bytes."""
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = (torch.tensor(rgb, dtype=torch.float32) / 127.5 - 1).reshape(1, 3, 1, 1).expand(2, 3, 16, 16)
    model(image)
    return seen[0][0, :, 5, 7].tolist()


def test_a_caffe_network_sees_bgr_minus_the_mean_over_128():
    found = seen_by_the_network(segmenter(normalisation="caffe"), (10, 200, 255))
    expected = [(255 - 104.00698793) / 128, (200 - 116.66876762) / 128, (10 - 122.67891434) / 128]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_caffe_rgb_network_sees_the_same_numbers_with_the_channels_reversed():
    colour = (10, 200, 255)
    reversed_ = seen_by_the_network(segmenter(normalisation="caffe-rgb"), colour)
    assert reversed_ == pytest.approx(
        [(10 - 122.67891434) / 128, (200 - 116.66876762) / 128, (255 - 104.00698793) / 128], abs=1e-6
    )
    assert reversed_ == pytest.approx(seen_by_the_network(segmenter(), colour)[::-1], abs=1e-6)


def test_a_unit_network_sees_rgb_between_zero_and_one():
    found = seen_by_the_network(segmenter(normalisation="unit"), (0, 51, 255))
    assert found == pytest.approx([0, 0.2, 1], abs=1e-6)


def test_an_imagenet_network_sees_what_torchvisions_own_preset_makes():
    preset = ResNet101_Weights.IMAGENET1K_V1.transforms(crop_size=16, resize_size=16)
    colour = torch.tensor([10, 200, 255], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 16, 16)
    found = seen_by_the_network(segmenter(normalisation="imagenet"), (10, 200, 255))
    assert found == pytest.approx(preset(colour)[:, 5, 7].tolist(), abs=1e-5)


def test_a_caffe_255_network_sees_bgr_minus_the_mean():
    found = seen_by_the_network(segmenter(normalisation="caffe-255"), (10, 200, 255))
    assert found == pytest.approx([255 - 104.00698793, 200 - 116.66876762, 10 - 122.67891434], abs=1e-4)


def test_the_extremes_of_a_caffe_network_are_those_of_the_facts():
    assert seen_by_the_network(segmenter(), (0, 0, 0)) == pytest.approx([-0.813, -0.911, -0.958], abs=1e-3)
    assert seen_by_the_network(segmenter(), (255, 255, 255)) == pytest.approx([1.180, 1.081, 1.034], abs=1e-3)


def test_logits_are_upsampled_bilinearly_with_aligned_corners():
    logits = torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]])
    expected = torch.tensor([[0.0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]])
    assert torch.allclose(upsample(logits, (4, 4))[0, 0], expected, atol=1e-6)


# files


@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_a_segmenter_is_loaded_bit_for_bit_as_it_was_saved(tmp_path, bn_pretrain):
    model = segmenter(bn_pretrain, normalisation="caffe-rgb", stride_in="conv2").train()
    model.statistics = {
        "day": estimate_statistics(model, [images()]),
        "night": estimate_statistics(model, [images() / 9]),
    }
    save_segmenter(model, tmp_path / "model.pt", stage="warmup", seed=3)
    loaded = load_segmenter(tmp_path / "model.pt")
    assert loaded.section == model.section
    assert loaded.classes == CLASSES
    assert loaded.bn_pretrain == bn_pretrain
    mine, theirs = model.network.state_dict(), loaded.network.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert list(loaded.statistics) == ["day", "night"]
    for domain, statistics in model.statistics.items():
        assert list(statistics) == list(loaded.statistics[domain])
        for name, value in statistics.items():
            assert torch.equal(value, loaded.statistics[domain][name])
    batch = images()
    for domain in ("day", "night"):
        model.use_statistics(domain)
        loaded.use_statistics(domain)
        assert torch.equal(model(batch).logits, loaded(batch).logits)


def test_a_checkpoint_says_where_it_comes_from(tmp_path):
    save_segmenter(segmenter(), tmp_path / "model.pt", stage="pretrain", seed=3, config={"steps": 5})
    provenance = load_checkpoint(tmp_path / "model.pt")["provenance"]
    assert provenance == {"stage": "pretrain", "seed": 3, "config": {"steps": 5}}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.fault(27, "the file and the tensor are named")
def test_weights_that_are_not_finite_are_refused_by_their_name(tmp_path, number):
    model = segmenter()
    with torch.no_grad():
        model.network.layer3[0].conv2.weight[1, 2, 0, 0] = number
    save_segmenter(model, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt: model: layer3\.0\.conv2\.weight .*not finite"):
        load_segmenter(tmp_path / "model.pt")


def test_statistics_that_are_not_finite_are_refused(tmp_path):
    model = segmenter().train()
    model.statistics = {"night": estimate_statistics(model, [images()])}
    model.statistics["night"]["layer0.1.running_var"][0] = float("nan")
    save_segmenter(model, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(tmp_path / "model.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused_by_its_name(tmp_path, share):
    path = tmp_path / "model.pt"
    save_segmenter(segmenter(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"model\.pt: cannot be read as weights"):
        load_segmenter(path)


def test_a_missing_checkpoint_is_refused_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pt: no such weights file"):
        load_segmenter(tmp_path / "absent.pt")


@pytest.mark.parametrize("zipped", [False, True])
def test_a_checkpoint_that_carries_code_is_refused_and_the_code_is_not_run(tmp_path, zipped):
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    content = {"format": 1, "model": Payload(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload itself is a working one
    assert trace.exists()


@pytest.mark.fault(43, "another format is refused, with what to do")
@pytest.mark.parametrize("content", [{"format": 2}, {"state_dict": {}}, [1, 2], torch.zeros(3)])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt: not a loopda checkpoint"):
        load_segmenter(tmp_path / "other.pt")


def foreign(kind):
    """A file that somebody may give in the place of a model.pt."""
    state = segmenter().network.state_dict()
    trunk = {name: value for name, value in state.items() if name.startswith("layer")}
    torchvision = {name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): v for name, v in trunk.items()}
    return {"student": state, "wrapped": {"state_dict": {f"module.{n}": v for n, v in state.items()}},
            "backbone": torchvision, "unknown": {"conv1.weight": torch.zeros(1)}}[kind]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("student", "a model of others (official LoopDA); make one of it: python -m loopda.stages.convert --weights "),
        ("wrapped", "a model of others (official LoopDA); make one of it: python -m loopda.stages.convert --weights "),
        ("backbone", "a backbone without heads (torchvision's ResNet)"),
        ("unknown", "python -m loopda.stages.convert --weights "),
    ],
)
def test_a_model_of_others_is_refused_with_the_command_that_converts_it(tmp_path, kind, expected):
    path = tmp_path / "my student.pth"
    torch.save(foreign(kind), path)
    for read in (load_segmenter, loopda.load):
        with pytest.raises(DataError) as raised:
            read(path)
        assert expected in str(raised.value)
        if expected.endswith("--weights "):
            assert f"--weights '{path}' --model model.pt" in str(raised.value)  # can be pasted into a shell


def test_a_safetensors_file_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((64).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}'.ljust(64) + bytes(8))
    with pytest.raises(DataError, match=r"a safetensors file: python -m loopda\.stages\.convert"):
        load_segmenter(path)
    pytest.importorskip("safetensors")
    save_segmenter(segmenter(), tmp_path / "model.pt")
    write_safetensors(load_checkpoint(tmp_path / "model.pt"), path)
    with pytest.raises(DataError, match=r"a safetensors file: python -m loopda\.stages\.convert"):
        load_segmenter(path)


@pytest.mark.parametrize("damage", ["network", "model", "another shape", "one tensor"])
def test_a_checkpoint_with_a_part_missing_or_of_another_shape_is_refused(tmp_path, damage):
    path = tmp_path / "model.pt"
    save_segmenter(segmenter(), path)
    checkpoint = torch.load(path, weights_only=True)
    if damage == "another shape":
        checkpoint["network"]["width"] = 8
    elif damage == "one tensor":
        del checkpoint["model"]["final2.1.bias"]
    else:
        del checkpoint[damage]
    torch.save(checkpoint, path)
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(path)


# a backbone for another network


def features(model, x):
    return model.eval()(x).features


def test_a_copied_backbone_sees_the_same_in_the_same_image_through_the_other_order_of_channels():
    source, target = segmenter(), segmenter(normalisation="caffe-rgb")
    x = images()
    assert not torch.allclose(features(target, x), features(source, x))
    copy_backbone(source, target)
    assert torch.allclose(features(target, x), features(source, x), atol=1e-5)
    assert not torch.allclose(target(x).logits, source(x).logits)  # the heads stay its own


def test_a_copied_backbone_is_the_targets_own():
    source, target = segmenter(), segmenter()
    copy_backbone(source, target)
    source.network.layer0[0].weight.data.zero_()
    assert target.network.layer0[0].weight.abs().max() > 0


@pytest.mark.parametrize("changes", [{"width": 8}, {"blocks": (1, 2, 1, 1)}])
def test_a_backbone_of_another_shape_is_refused_and_nothing_is_copied(changes):
    source, target = segmenter(**changes), segmenter()
    before = copy.deepcopy(target.network.state_dict())
    with pytest.raises(DataError, match="different backbones"):
        copy_backbone(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.network.state_dict().items())


# statistics


def naive_statistics(model, batches):
    """Mean over the batches of each batch's own mean and (unbiased) variance, at every normalisation."""
    model = copy.deepcopy(model).train()
    parts = {name: part for name, part in model.network.named_modules() if isinstance(part, nn.BatchNorm2d)}
    inputs = {name: [] for name in parts}
    for name, part in parts.items():
        part.register_forward_pre_hook(lambda _, values, name=name: inputs[name].append(values[0]))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    expected = {}
    for name, seen in inputs.items():
        values = [batch.transpose(0, 1).flatten(1).double() for batch in seen]
        expected[f"{name}.running_mean"] = sum(value.mean(dim=1) for value in values) / len(values)
        expected[f"{name}.running_var"] = sum(value.var(dim=1) for value in values) / len(values)
    return expected


def assert_close(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_the_statistics_of_a_domain_are_the_mean_over_batches_of_their_mean_and_variance(bn_pretrain):
    model = segmenter(bn_pretrain)
    batches = [images(2), images(3) * 0.2 + 0.7, images(2, (24, 16)) * 0.1 - 0.5]
    assert_close(estimate_statistics(model, iter(batches)), naive_statistics(model, batches))


def test_statistics_forget_what_the_network_saw_before_and_in_which_order():
    model = segmenter(dropout=0.0)
    batches = [images(2), images(2) * 0.2 + 0.7, images(2) * 0.1 - 0.5]
    first = estimate_statistics(model, batches)
    model.train()(images(2) * 5)
    assert_close(estimate_statistics(model, batches[::-1]), first)


def test_statistics_are_copies_which_later_training_does_not_change():
    model = segmenter()
    found = estimate_statistics(model, [images()])
    before = {name: value.clone() for name, value in found.items()}
    model.train()(images() * 3)
    assert all(torch.equal(found[name], before[name]) for name in found)
    assert any(not torch.equal(found[name], value) for name, value in running_statistics(model).items())


def test_estimating_statistics_changes_no_weight_and_restores_training():
    model = segmenter().eval()
    momenta = {part.momentum for part in model.modules() if isinstance(part, nn.BatchNorm2d)}
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    estimate_statistics(model, [images()])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert {part.momentum for part in model.modules() if isinstance(part, nn.BatchNorm2d)} == momenta == {0.1}
    assert all(value.requires_grad and value.grad is None for value in model.parameters())


def test_the_statistics_of_a_domain_are_those_the_network_is_evaluated_with():
    model = segmenter()
    statistics = {
        "day": estimate_statistics(model, [images()]),
        "night": estimate_statistics(model, [images() * 0.2 - 0.8]),
    }
    model.statistics = statistics
    for domain in ("night", "day", "night"):
        model.train()
        assert model.use_statistics(domain) == domain
        assert not model.training
        assert not any(part.training for part in model.modules())
        assert_close(running_statistics(model), statistics[domain])


def test_a_network_with_shared_statistics_has_one_set_for_every_domain():
    model = segmenter(statistics="shared")
    model.statistics = {"shared": estimate_statistics(model, [images()])}
    assert model.use_statistics("night") == model.use_statistics("day") == "shared"


@pytest.mark.parametrize("statistics", ["per_domain", "shared"])
def test_a_domain_without_statistics_is_refused(statistics):
    model = segmenter(statistics=statistics)
    model.statistics = {"day": running_statistics(model)}
    missing = "night" if statistics == "per_domain" else "shared"
    with pytest.raises(DataError, match=f"no {missing} statistics"):
        model.use_statistics("night")


# what a disk does to a file


@pytest.mark.fault(15, "a flipped bit anywhere in the weights is found, and the file is named")
def test_a_flipped_bit_in_a_checkpoint_is_found_although_torch_would_load_it(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint({"model": {"weight": torch.zeros(5000)}}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["model"]["weight"].any()
    with pytest.raises(DataError, match=r"model\.pt: its content does not match the SHA-256 in it"):
        load_checkpoint(path)


def test_equal_checkpoints_make_equal_files_and_others_another_digest(tmp_path):
    content = {"model": {"weight": torch.arange(6.0)}, "classes": ["a", "b"], "seed": 1}
    for name in ("one.pt", "other.pt"):
        save_checkpoint(content, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
    assert load_checkpoint(tmp_path / "one.pt").keys() == content.keys()
    changes = [{"seed": 2}, {"classes": ["ab"]}, {"model": {"weight": torch.arange(6.0).view(2, 3)}}]
    changes += [{"model": {"weight": torch.arange(6.0).double()}}, {"model": {"weights": torch.arange(6.0)}}]
    assert len({content_digest(content | change) for change in [{}, *changes]}) == 1 + len(changes)


@pytest.mark.fault(43, "a file of an earlier version, which has no digest, is read")
def test_a_checkpoint_without_a_digest_is_read(tmp_path):
    torch.save({"format": 1, "model": {}}, tmp_path / "model.pt")
    assert load_checkpoint(tmp_path / "model.pt") == {"format": 1, "model": {}}


@pytest.mark.fault(11, "exit code 4, one message, and no file")
def test_a_disk_that_is_full_of_something_else_gets_no_part_of_a_model(tmp_path, tiny_disk):
    def fill() -> str:
        try:
            save_checkpoint({"model": {"weight": torch.ones(100_000)}}, tmp_path / "model.pt")  # 400 kB
        except DeviceError as error:
            left = [path.name for path in tmp_path.iterdir()]
            return str(error) if not left else f"it left {left}"
        return "the disk was not full"

    assert tiny_disk(tmp_path, fill).startswith(f"{tmp_path}/model.pt: cannot be written (")
