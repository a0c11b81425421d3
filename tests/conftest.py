"""What many tests share: the repository's folder, and a miniature of the pipeline that runs in this process."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # tests import miniature.py, checkpoints.py and others by their names

import miniature as miniatures
import process_state
import small_disk

from loopda.models.compute.compilation import compiled_once

# what torch.compile makes: PyTorch also takes kernels that were made for another processor, or before one was lowered
KERNELS = tempfile.TemporaryDirectory(prefix="kernels-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = KERNELS.name

ROOT = Path(__file__).parent.parent
# the files that take longest; with the plugin for random order they come in a random one
FIRST = ("test_snakemake.py", "test_resume.py", "test_several_processes.py", "test_compilation.py", "test_paper.py")

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def same_process() -> Iterator[None]:
    """No test leaves anything to the next, which therefore ends in the same way alone and in any order."""
    with process_state.same_process():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """What many tests share is the same whichever of them asks first, and making it leaves nothing to that one."""
    if fixturedef.scope == "function":
        return (yield)
    with process_state.same_arithmetic():
        return (yield)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Loads scripts/<name>.py, which is no module of the package."""

    def load(name: str) -> ModuleType:
        specification = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with the longest tests come first, so that of two processes none has a long one left at the end."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Networks are compiled to whole graphs and not to kernels, which would take minutes; returns how many."""
    with_graphs_alone = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", with_graphs_alone)
    compiled_once.cache_clear()
    counters = importlib.import_module("torch._dynamo.utils").counters
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    compiled_once.cache_clear()
    torch.compiler.reset()


@pytest.fixture(scope="session")
def base_config() -> dict[str, Any]:
    """config.yaml with workflow/config/smoke.yaml over it; a test that changes it takes a deep copy."""
    return miniatures.base_config()


@pytest.fixture(scope="session")
def miniature_town() -> dict[str, Any]:
    """The section `town` of the miniature."""
    return dict(miniatures.TOWN)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory, base_config: dict[str, Any]) -> miniatures.Miniature:
    """The experiment `smoke` on the miniature town. Its files are shared: a test changes copies of them.

    All stages run here, and none when a test first asks for it, for that test may have changed how stages work.
    """
    made = miniatures.miniature_in(tmp_path_factory.mktemp("miniature"), base_config)
    for stage, (_, outputs) in miniatures.WIRING.items():
        if stage not in ("evaluate", "illustrate"):  # whose results no other stage reads
            made.path(stage, next(iter(outputs)))
    return made


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an untrained network for the 19 classes, of images of 64 x 32, with two sets of statistics."""
    import torch
    from checkpoints import small_network

    from loopda.labels.classes import CITYSCAPES
    from loopda.models.checkpoint import save_segmenter
    from loopda.models.segmenter import Segmenter, estimate_statistics

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = small_network(head_channels=8, output_stride=4, dropout=0.0)
        segmenter = Segmenter(network, CITYSCAPES)
        images = torch.rand(4, 3, 32, 64) * 2 - 1
        segmenter.statistics = {
            "day": estimate_statistics(segmenter, [images]),
            "night": estimate_statistics(segmenter, [images / 4 - 0.7]),
        }
    path = tmp_path_factory.mktemp("small model") / "model.pt"
    config = {"input": {"size": [64, 32], "crop": [64, 32]}}
    save_segmenter(segmenter, path, stage="warmup", seed=0, config=config)
    return path


@pytest.fixture
def tiny_disk() -> Callable[[Path, Callable[[], str]], str]:
    """tiny_disk(folder, work): what `work` returns in a process that sees a disk of 256 KiB in `folder`."""

    def child(folder: Path, work: Callable[[], str]) -> str:
        try:
            return work() if small_disk.mount(folder, 256) else "refused"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"

    def run(folder: Path, work: Callable[[], str]) -> str:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, child(folder, work).encode())
            os._exit(0)
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        if answer == "refused":
            pytest.skip("mounting a small disk needs root")
        return answer

    return run
