"""The configuration that tests of the pipeline change, and its schemas."""

import json

import pytest
import yaml
from configurations import Config


@pytest.fixture
def config(root) -> Config:
    """config.yaml as it is."""
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.fixture(scope="module")
def schemas(root) -> Config:
    return json.loads((root / "loopda/pipeline/config.schema.json").read_text())
