"""Which software made the numbers."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import loopda

_LIBRARIES = ("torch", "torchvision", "lpips", "snakemake", "numpy", "pandas", "pillow", "matplotlib", "pydantic")


def versions() -> dict[str, str]:
    """Name -> version of this package, its commit, Python and the libraries."""
    return {
        "loopda": loopda.__version__,
        "commit": commit(Path(loopda.__file__).parent),
        "python": platform.python_version(),
        **{name: _installed(name) for name in _LIBRARIES},
    }


def commit(package: Path) -> str:
    """The git commit of the source tree of `package`, with `-dirty` where it has changed; `unknown` without git."""
    try:
        # a virtual environment inside of someone's own repository is not a checkout of this package
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        return _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
