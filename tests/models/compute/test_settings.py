"""How far equal runs are equal, and what is written down of how a result was made."""

import os
import subprocess
import sys

import pytest
import torch
from interruption import identical

from loopda.errors import ConfigError
from loopda.models.checkpoint import load_checkpoint
from loopda.models.compute.settings import environment, make_reproducible
from loopda.runtime.foreign_errors import as_loopda_error


def switches() -> dict[str, bool]:
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "TF32 convolutions": torch.backends.cudnn.allow_tf32,
        "TF32 products": torch.backends.cuda.matmul.allow_tf32,
    }


@pytest.fixture(autouse=True)
def nothing_set_yet(monkeypatch):
    """What `exact` sets is not set by the machine."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


def test_seeded_is_how_pytorch_starts():
    code = "import test_settings; print(test_settings.switches())"
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    started = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    make_reproducible("exact")
    make_reproducible("seeded")
    assert started.stdout.strip() == str(switches())


def test_exact_has_deterministic_algorithms_alone_and_fast_the_fastest():
    make_reproducible("exact")
    assert [name for name, on in switches().items() if on] == ["deterministic", "cudnn deterministic"]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    make_reproducible("fast")
    assert [name for name, on in switches().items() if on] == ["cudnn benchmark", "TF32 convolutions", "TF32 products"]


def test_an_operation_without_a_deterministic_way_is_explained_by_the_key():
    error = RuntimeError("adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but")
    fault = as_loopda_error(error)
    assert isinstance(fault, ConfigError)
    assert "compute.reproducibility exact" in str(fault)
    assert "adaptive_avg_pool2d_backward_cuda" in str(fault)
    assert "seeded" in str(fault)


def test_a_stage_in_each_mode_ends_with_the_same_bits_on_a_cpu_and_says_which_it_was(miniature, tmp_path):
    section = miniature.section("warmup")
    models = {}
    for mode in ("exact", "fast"):
        compute = section.compute.model_copy(update={"reproducibility": mode})
        miniature.run("warmup", tmp_path / mode, config=section.model_copy(update={"compute": compute}))
        models[mode] = load_checkpoint(tmp_path / mode / "model.pt")
        assert models[mode]["provenance"]["config"]["compute"]["reproducibility"] == mode
    seeded = load_checkpoint(miniature.path("warmup", "model.pt"))
    assert identical(models["fast"]["model"], seeded["model"])
    assert identical(models["exact"]["model"], seeded["model"])


@pytest.mark.parametrize(("stage", "name"), [("warmup", "loops.pt"), ("translate", "generators.pt")])
def test_other_networks_say_too_in_what_they_were_made(miniature, stage, name):
    provenance = load_checkpoint(miniature.path(stage, name))["provenance"]
    assert provenance["stage"] == stage
    assert provenance["config"]["compute"] == miniature.section(stage).compute.model_dump()
    assert environment(torch.device("cpu")).items() <= provenance.items()
