"""Others' models as checkpoints of this package."""

import json
import sys

import pytest
import torch
from checkpoints import small_network

from loopda.errors import ConfigError
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_checkpoint, load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.runtime.command import command
from loopda.runtime.files import sha256
from loopda.stages import convert, evaluate
from loopda.weights.catalogue import CATALOGUE


def deeplab_file(path):
    torch.manual_seed(2)
    torch.save(Segmenter(small_network(name="deeplab"), CITYSCAPES).network.state_dict(), path)


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
