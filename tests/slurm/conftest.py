"""The tests that bring up a SLURM run only when they are asked for: they take minutes and the cluster's packages."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a word about `slurm` in -m, its tests are left out."""
    if "slurm" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("slurm")]
    items[:] = [item for item in items if not item.get_closest_marker("slurm")]
    config.stash[LEFT_OUT] = len(left_out)
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, why, and how to run it."""
    if config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{config.stash[LEFT_OUT]} tests of a real SLURM cluster left out, which need its packages and several "
            "minutes: make slurm-test"
        )


@pytest.fixture(scope="module")
def say(request) -> Callable[[str], None]:
    """A function that shows a line at once, for the run takes minutes."""
    reporter, capture = map(request.config.pluginmanager.getplugin, ("terminalreporter", "capturemanager"))

    def shown(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"{time.strftime('%H:%M:%S')} {text}")
            reporter.flush()

    return shown


@pytest.fixture(scope="module")
def profile(tmp_path_factory, root) -> Path:
    """The profile as it is, but for faster checks, and without the signal ahead of the limit for one stage."""
    values = yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())
    values |= {"slurm-init-seconds-before-status-checks": 1, "latency-wait": 5}
    values["set-resources"]["simclr"]["slurm_extra"] = "''"
    folder = tmp_path_factory.mktemp("profile")
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder
