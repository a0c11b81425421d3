"""Our models as files for others: student.pth, safetensors, ONNX."""

import re
import sys

import pytest
import torch
from checkpoints import small_network

from loopda.errors import ConfigError
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_checkpoint, load_segmenter, save_segmenter
from loopda.models.segmenter import Segmenter, estimate_statistics
from loopda.runtime.command import command
from loopda.stages import convert, export


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
