"""Weights of others come in by `pretrain`, `simclr` and `convert`; models go out by `export`, and come back."""

import json
import re
import sys

import pytest
import torch
from checkpoints import small_network

from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_checkpoint, load_segmenter, save_segmenter
from loopda.models.segmenter import Segmenter, estimate_statistics
from loopda.runtime.command import command
from loopda.runtime.files import sha256
from loopda.stages import convert, evaluate, export, pretrain, simclr, warmup
from loopda.weights.catalogue import CATALOGUE


@pytest.fixture
def model(tmp_path):
    """A checkpoint with statistics for day and night."""
    torch.manual_seed(0)
    segmenter = Segmenter(small_network(), CITYSCAPES)
    segmenter.statistics = {
        domain: estimate_statistics(segmenter, [torch.rand(2, 3, 24, 32) * scale])
        for domain, scale in (("day", 1), ("night", 0.2))
    }
    save_segmenter(segmenter, tmp_path / "model.pt", stage="warmup", seed=1, config={"steps": 2})
    return tmp_path / "model.pt"


def torchvision_file(path):
    """A backbone of the miniature's width with torchvision's names."""
    torch.manual_seed(1)
    trunk = {
        name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): value
        for name, value in Segmenter(small_network(), CITYSCAPES).network.state_dict().items()
        if re.match(r"layer\d", name)
    }
    torch.save(trunk | {"fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}, path)
    return trunk


def deeplab_file(path):
    torch.manual_seed(2)
    torch.save(Segmenter(small_network(name="deeplab"), CITYSCAPES).network.state_dict(), path)


def plain_bits(values):
    return {name: value.contiguous().numpy().tobytes() for name, value in values.items()}


# there and back


@pytest.mark.parametrize("domain", ["day", "night"])
def test_an_official_export_converts_back_to_the_same_weights_and_statistics(model, tmp_path, domain):
    command(export.run, ["--model", str(model), "--exported", str(tmp_path / "student.pth"), "--domain", domain])
    command(convert.run, ["--weights", str(tmp_path / "student.pth"), "--model", str(tmp_path / "again.pt")])
    first, again = load_checkpoint(model), load_checkpoint(tmp_path / "again.pt")
    learnt = [name for name in first["model"] if "running" not in name]
    assert plain_bits({n: again["model"][n] for n in learnt}) == plain_bits({n: first["model"][n] for n in learnt})
    assert plain_bits(again["statistics"]["shared"]) == plain_bits(first["statistics"][domain])
    provenance = again["provenance"]
    assert provenance["layout"] == "official LoopDA"
    assert re.fullmatch(r"[0-9a-f]{64}", provenance["sha256"])
    assert provenance["config"]["weights"] == str(tmp_path / "student.pth")


def test_a_safetensors_export_converts_back_to_the_same_checkpoint(model, tmp_path):
    export.run(model=model, exported=tmp_path / "net.safetensors")
    convert.run(weights=str(tmp_path / "net.safetensors"), model=tmp_path / "again.pt")
    first, again = load_checkpoint(model), load_checkpoint(tmp_path / "again.pt")
    assert plain_bits(again["model"]) == plain_bits(first["model"])
    assert {d: plain_bits(v) for d, v in again["statistics"].items()} == {
        d: plain_bits(v) for d, v in first["statistics"].items()
    }
    assert again["provenance"] == first["provenance"]
    assert load_segmenter(tmp_path / "again.pt").section == load_segmenter(model).section


def test_the_log_of_an_onnx_export_says_the_largest_difference(model, tmp_path):
    log = tmp_path / "export.log"
    export.run(model=model, exported=tmp_path / "net.onnx", width=40, height=24, threads=1, log=log)
    found = re.search(r"largest difference of a probability is (\S+), (\S+) % of the labels differ", log.read_text())
    assert 0 < float(found[1]) < 1e-3
    assert float(found[2]) < 1


@pytest.mark.parametrize(
    ("config", "asked", "expected"),
    [
        ({"input": {"size": [160, 80]}}, {}, (160, 80)),
        ({"input": {"size": [160, 80]}}, {"width": 64, "height": 32}, (64, 32)),
        ({"steps": 2}, {}, (960, 540)),
    ],
)
def test_a_graph_is_made_for_the_size_of_training_unless_another_is_asked_for(
    model, tmp_path, monkeypatch, config, asked, expected
):
    checkpoint = load_checkpoint(model)
    checkpoint["provenance"]["config"] = config
    torch.save(checkpoint, model)
    seen = []
    monkeypatch.setattr(export, "write_onnx", lambda *arguments: seen.append(arguments[3]) or (0.0, 0.0))
    export.run(model=model, exported=tmp_path / "net.onnx", **asked)
    assert seen == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"domain": "dusk"}, "domain 'dusk': choose day or night"),
        ({"exported": "net.bin"}, "the suffix says the format"),
        ({"exported": "net.onnx", "width": 8, "height": 64}, "at least 16 x 16"),
    ],
)
def test_what_cannot_be_exported_is_refused(model, tmp_path, changes, expected):
    arguments = {"model": model, "exported": "student.pth"} | changes
    arguments["exported"] = tmp_path / "out" / arguments["exported"]
    with pytest.raises(ConfigError, match=expected):
        export.run(**arguments)
    assert not (tmp_path / "out").exists()


def test_an_export_that_the_authors_code_cannot_build_says_so(model, tmp_path, capsys):
    export.run(model=model, exported=tmp_path / "student.pth")
    assert "not this one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("suffix", "package"),
    [(".safetensors", "safetensors"), (".onnx", "onnx"), (".onnx", "onnxscript"), (".onnx", "onnxruntime")],
)
def test_a_package_that_a_format_needs_is_missed_before_any_work(tmp_path, monkeypatch, suffix, package):
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    with pytest.raises(ConfigError, match=rf"{package}\b.*pip install 'loopda\[export\]'"):
        export.run(model=tmp_path / "no such.pt", exported=tmp_path / f"net{suffix}")


def test_converting_a_safetensors_file_misses_the_package_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ConfigError, match=r"pip install 'loopda\[export\]'"):
        convert.run(weights=str(tmp_path / "no such.safetensors"), model=tmp_path / "model.pt")


# convert


@pytest.mark.parametrize("branches", [2, 4])
def test_a_converted_deeplab_knows_how_many_branches_are_summed(tmp_path, branches):
    deeplab_file(tmp_path / "net.pth")
    convert.run(weights=str(tmp_path / "net.pth"), model=tmp_path / "model.pt", aspp_branches=branches)
    section = load_segmenter(tmp_path / "model.pt").section
    assert (section.name, section.aspp_branches, section.normalisation) == ("deeplab", branches, "caffe-255")


def test_a_published_network_of_two_branches_is_not_converted_with_four(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    with pytest.raises(ConfigError, match="adaptsegnet-gta needs 2"):
        convert.run(weights="adaptsegnet-gta", model=tmp_path / "model.pt", aspp_branches=4)
    with pytest.raises(ConfigError, match=r"weights is empty"):
        convert.run(weights="", model=tmp_path / "model.pt")


@pytest.mark.parametrize("known_by", ["name", "content"])
@pytest.mark.fault(89, "a published file is known by its name or its SHA-256, under any file name")
def test_adaptsegnets_file_is_converted_with_its_two_branches(tmp_path, monkeypatch, known_by):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    entry = CATALOGUE["adaptsegnet-gta"]
    deeplab_file(tmp_path / entry.file)
    published = entry._replace(sha256=sha256(tmp_path / entry.file)[:8])
    monkeypatch.setitem(CATALOGUE, "adaptsegnet-gta", published)
    path = tmp_path / "mine.pth"
    path.write_bytes((tmp_path / entry.file).read_bytes())
    weights = "adaptsegnet-gta" if known_by == "name" else str(path)
    convert.run(weights=weights, model=tmp_path / "model.pt")
    assert load_segmenter(tmp_path / "model.pt").section.aspp_branches == 2
    with pytest.raises(ConfigError, match="adaptsegnet-gta needs 2"):
        convert.run(weights=weights, model=tmp_path / "model.pt", aspp_branches=4)


@pytest.mark.fault(89, "a file that does not say is not converted with a guessed number")
def test_a_deeplab_by_path_is_not_converted_with_a_number_of_branches_that_nobody_said(tmp_path):
    deeplab_file(tmp_path / "net.pth")
    with pytest.raises(SystemExit) as raised:
        command(convert.run, ["--weights", str(tmp_path / "net.pth"), "--model", str(tmp_path / "model.pt")])
    assert raised.value.code == ConfigError.exit_code
    assert not (tmp_path / "model.pt").exists()


def test_a_named_model_is_converted_from_the_folder_of_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    deeplab_file(tmp_path / "gta2cityscapes_advent.pth")
    convert.run(weights="advent-gta", model=tmp_path / "model.pt")
    assert load_checkpoint(tmp_path / "model.pt")["provenance"]["config"]["weights"] == "advent-gta"
    assert "nobody published one" in capsys.readouterr().err


def test_a_converted_model_is_evaluated_like_our_own(miniature, tmp_path):
    deeplab_file(tmp_path / "net.pth")
    convert.run(
        weights=str(tmp_path / "net.pth"),
        model=tmp_path / "model.pt",
        aspp_branches=4,
        classes=miniature.path("prepare", "classes.json"),
    )
    scores = tmp_path / "evaluate" / "convert.json"
    scores.parent.mkdir()
    evaluate.run(
        config=miniature.section("evaluate"),
        model=[tmp_path / "model.pt"],
        night_val=miniature.path("prepare", "night_val.csv"),
        day_val=miniature.path("prepare", "day_val.csv"),
        classes=miniature.path("prepare", "classes.json"),
        scores=scores,
        log=tmp_path / "evaluate.log",
        seed=0,
        experiment="smoke",
        device="cpu",
        threads=1,
    )
    result = json.loads(scores.read_text())
    assert result["model_stage"] == "convert"
    assert {found["protocol"]["normalisation"] for found in result["domains"].values()} == {"shared statistics"}


# training from imported backbones


def test_pretraining_starts_from_the_imported_backbone_and_sees_what_it_expects(miniature, tmp_path):
    trunk = torchvision_file(tmp_path / "resnet.pth")
    section = miniature.section("pretrain", weights=str(tmp_path / "resnet.pth"), steps=1)
    optimizer = section.optimizer.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})
    section = section.model_copy(update={"optimizer": optimizer, "warmup_steps": 0})
    out = tmp_path / "pretrain"
    pretrain.run(**miniature.arguments("pretrain", out, config=section))
    segmenter = load_segmenter(out / "model.pt")
    assert segmenter.section.normalisation == "imagenet"
    assert torch.equal(segmenter.network.layer2[0].conv2.weight, trunk["layer2.0.conv2.weight"])
    log = (tmp_path / "pretrain.log").read_text()
    assert "torchvision's ResNet" in log
    assert "imagenet: it replaces caffe" in log


def test_a_deeplab_is_pretrained_and_warmed_up_by_its_name_alone(miniature, tmp_path):
    section = miniature.section("pretrain")
    section = section.model_copy(update={"network": section.network.model_copy(update={"name": "deeplab"})})
    pretrain.run(**miniature.arguments("pretrain", tmp_path / "pretrain", config=section))
    pretrained = tmp_path / "pretrain" / "model.pt"
    warmup.run(**miniature.arguments("warmup", tmp_path / "warmup", pretrained=pretrained))
    first, second = load_segmenter(pretrained), load_segmenter(tmp_path / "warmup" / "model.pt")
    assert first.section.name == second.section.name == "deeplab"
    assert set(second.statistics) == {"day", "night"}
    assert not torch.equal(first.network.layer6.conv2d_list[3].weight, second.network.layer6.conv2d_list[3].weight)


def test_a_backbone_of_another_width_stops_pretraining_before_it_starts(miniature, tmp_path):
    torchvision_file(tmp_path / "resnet.pth")
    section = miniature.section("pretrain", weights=str(tmp_path / "resnet.pth"))
    section = section.model_copy(update={"network": section.network.model_copy(update={"width": 8})})
    with pytest.raises(DataError, match=r"network\.blocks to \[1, 1, 1, 1\] and network\.width to 4"):
        pretrain.run(**miniature.arguments("pretrain", tmp_path / "pretrain", config=section))
    assert not (tmp_path / "pretrain" / "model.pt").exists()


def test_an_imported_student_is_not_trained_contrastively_and_keeps_loopdas_input(miniature, tmp_path):
    trunk = torchvision_file(tmp_path / "plain.pth")
    torch.save({"state_dict": trunk}, tmp_path / "r101_1x_sk0.pth")
    section = miniature.section("simclr", weights=str(tmp_path / "r101_1x_sk0.pth"))
    out = tmp_path / "simclr"
    simclr.run(**miniature.arguments("simclr", out, config=section))
    segmenter = load_segmenter(out / "model.pt")
    assert (segmenter.section.normalisation, segmenter.bn_pretrain) == ("caffe-rgb", True)
    assert torch.equal(segmenter.network.layer0[0].weight, trunk["conv1.weight"])
    assert "ProDA's conversion" in (tmp_path / "simclr.log").read_text()
