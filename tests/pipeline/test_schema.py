"""The schema in the package and the configurations in workflow/ follow the typed sections in the stages."""

import importlib
import json
from pathlib import Path

import pytest
import yaml

from loopda.config import parse_section
from loopda.errors import ConfigError
from loopda.pipeline import experiments
from loopda.pipeline.checking import check
from loopda.pipeline.schema import read_schemas, schema
from loopda.pipeline.stages import STAGES

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "workflow/config").glob("*.yaml"))


@pytest.fixture(scope="module")
def schemas() -> dict:
    return read_schemas()


@pytest.fixture(params=["config.yaml", *OVERLAYS])
def config(request: pytest.FixtureRequest) -> dict:
    """config.yaml, or an overlay of workflow/config on it, with the one that it goes on from (paper-methods: paper)."""
    found = yaml.safe_load((ROOT / "config.yaml").read_text())
    before = f"{request.param.partition('-')[0]}.yaml"
    for name in dict.fromkeys(name for name in (before, request.param) if name in OVERLAYS):
        found = experiments.merged(found, yaml.safe_load((ROOT / "workflow/config" / name).read_text()))
    return found


def test_the_schema_on_disk_is_what_the_sections_generate(schemas):
    """Stale: run python -m loopda.pipeline.schema > x && mv x loopda/pipeline/config.schema.json."""
    assert schemas == json.loads(json.dumps(schema()))


def test_there_is_an_overlay_for_a_smoke_run():
    assert "smoke.yaml" in OVERLAYS


def test_a_configuration_that_the_project_ships_passes_the_check(config, schemas, monkeypatch):
    monkeypatch.chdir(ROOT)
    check(config, schemas)


def test_each_stage_accepts_the_sections_that_the_check_accepts(config):
    for experiment in config["experiments"]:
        sections = [(stage, experiments.section(config, experiment, stage)) for stage in STAGES if stage != "manifest"]
        sections += [("manifest", experiments.set_section(config, experiment, name)) for name in ("source", "night")]
        for stage, section in sections:
            values = yaml.safe_load(experiments.as_yaml(section))
            parse_section(values, importlib.import_module(f"loopda.stages.{stage}").Config, stage)


@pytest.mark.parametrize("value", [1000.0, "3", True, 0, None])
def test_check_and_stage_refuse_the_same_number_of_steps(schemas, value):
    section_class = importlib.import_module("loopda.stages.warmup").Config
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["warmup"]["steps"] = value
    with pytest.raises(ConfigError):
        check(config, schemas)
    with pytest.raises(ConfigError):
        parse_section(experiments.section(config, "loopda", "warmup"), section_class, "warmup")
