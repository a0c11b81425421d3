"""The flags of a rule's command are the parameters of the stage's run(), and name the rule's files."""

import functools
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import loopda.stages
from loopda.pipeline import comparisons, experiments, search
from loopda.pipeline.jobs import Job
from loopda.pipeline.stages import STAGES
from loopda.runtime.command import command

MODULES = {path.stem for path in Path(loopda.stages.__file__).parent.glob("[a-z]*.py")}
# Its images are a user's own, which no experiment of config.yaml knows; so no rule calls it.
BY_HAND = {"predict"}
# By hand `prepare` checks all sets itself and writes their manifests; in the workflow `manifest` does, one by one.
FLAGS_BY_HAND = {"prepare": {"town", "source", "night", "day-val", "night-val", "day-test", "night-test", "day"}}
# the stages, each called by the rule of its name; but each list of config.yaml has a rule that calls `compare`
NAMES = sorted(MODULES - BY_HAND - {"compare"} | set(experiments.COMPARISONS))


class Rule(NamedTuple):
    """A rule that calls a stage, as Snakemake has read it."""

    name: str
    stage: str
    flags: dict[str, str]  # --flag: what follows it
    inputs: list[str]  # the names of those that have one
    outputs: dict[str, str]
    log: str
    benchmark: str
    description: str


@pytest.fixture(scope="session")
def stage_rules(root, tmp_path_factory) -> dict[str, Rule]:
    """The rules that call a stage, by name."""
    rules = {}
    for read in rules_of_workflow(root, tmp_path_factory.mktemp("rules")):
        called = re.search(r"python -m loopda\.stages\.(\w+)", read["shell"] or "")
        if called:
            flags = re.findall(r"--([a-z-]+) (\{[^}]*\}|\S+)", read["shell"][called.end() :])
            assert len(dict(flags)) == len(flags), f"{read['name']} repeats a flag"
            [log] = read["log"]
            rules[read["name"]] = Rule(
                read["name"],
                called[1],
                dict(flags),
                read["inputs"],
                read["outputs"],
                log,
                read["benchmark"],
                read["description"],
            )
    return rules


def rules_of_workflow(root: Path, folder: Path) -> list[dict]:
    """All rules of the Snakefile, read in an empty `folder` by a process of its own."""
    script = [sys.executable, root / "tests/rules_of_workflow.py", root / "Snakefile"]
    environment = {**os.environ, "PYTHONPATH": str(root), "XDG_CACHE_HOME": str(folder / "cache")}
    process = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(params=NAMES)
def rule(request, stage_rules) -> Rule:
    return stage_rules[request.param]


def section_of(rule: Rule, config: dict) -> dict:
    """What the rule `configure` writes for the stage."""
    if rule.name in experiments.COMPARISONS:
        return comparisons.table(config, rule.name)
    if rule.name == experiments.SEARCH:
        return search.table(search.with_trials(config))
    if rule.stage == "manifest":
        return experiments.set_section(config, "smoke", "night")
    return experiments.section(config, "smoke", rule.stage)


def run_of(rule: Rule):
    return importlib.import_module(f"loopda.stages.{rule.stage}").run


def test_every_stage_has_a_rule_of_its_name_and_every_module_of_a_stage_is_called(stage_rules):
    assert set(stage_rules) == set(NAMES)
    assert {rule.stage for rule in stage_rules.values()} == MODULES - BY_HAND
    assert set(stage_rules) >= set(STAGES)
    for rule in stage_rules.values():
        assert rule.stage == ("compare" if rule.name in experiments.COMPARISONS else rule.name)


def test_the_flags_of_the_command_are_the_parameters_of_run(rule):
    parameters = {name.replace("_", "-") for name in inspect.signature(run_of(rule)).parameters}
    assert set(rule.flags) == parameters - FLAGS_BY_HAND.get(rule.stage, set())


def test_each_named_input_and_output_is_the_value_of_the_flag_of_its_name(rule):
    assert rule.inputs or rule.name == "town"
    assert rule.outputs
    for kind, names in (("input", rule.inputs), ("output", rule.outputs)):
        for name in names:
            assert rule.flags[name.replace("_", "-")] == f"{{{kind}.{name}:q}}"


def test_each_rule_has_a_description_a_log_and_a_benchmark_under_the_name_of_its_results(rule):
    assert re.fullmatch(r"[A-Z].*\.?", rule.description)
    place = rule.log.removeprefix("logs/").removesuffix(".log")
    assert rule.log == f"logs/{place}.log"
    assert rule.benchmark == f"benchmarks/{place}.tsv"
    assert place.split("/")[0] == rule.name
    assert all(output.split("/")[:2] == ["results", rule.name] for output in rule.outputs.values())


def test_the_files_by_which_the_status_knows_a_job_are_the_outputs_and_the_log_of_its_rule(rule):
    if rule.name == "export":  # asked for by hand, and done in a moment
        assert rule.name not in STAGES
        return
    values = {"experiment": "mine", "seed": 7, "stage": "warmup", "data_set": "night"}
    job = Job(
        rule.name,
        "mine" if "{experiment}" in rule.log else "",
        7 if "{seed}" in rule.log else None,
        "warmup" if "{stage}" in rule.log else "",
        "night" if "{data_set}" in rule.log else "",
    )
    assert set(job.files) == {output.format(**values) for output in rule.outputs.values()}
    assert f"logs/{job.place}.log" == rule.log.format(**values)


@pytest.mark.parametrize("optional", ["given", "left out"])
def test_the_stage_accepts_the_command_that_its_rule_gives(rule, optional, base_config, tmp_path):
    """Left out: what Snakemake puts in the place of an input function without a file, which is nothing."""
    run = run_of(rule)
    parameters = inspect.signature(run).parameters
    seen = {}

    @functools.wraps(run)
    def called(**values: object) -> None:
        seen.update(values)

    words = []
    for flag, value in rule.flags.items():
        name = flag.replace("-", "_")
        kind = str(parameters[name].annotation)
        if value == "{input.config:q}":
            config = tmp_path / "config.yaml"
            config.write_text(experiments.as_yaml(section_of(rule, base_config)))
            text = str(config)
        elif name in rule.inputs and "None" in kind and optional == "left out":
            text = ""
        elif kind.startswith("list"):
            text = "" if name == "pictures" and optional == "left out" else f"{name}-1 {name}-2"
        elif "int" in kind or "float" in kind:
            text = "3"
        else:
            text = str(tmp_path / name)
        words += [f"--{flag}", *shlex.split(text)]
    command(called, words)
    assert set(seen) == set(parameters)


def test_a_flag_that_no_parameter_knows_is_refused(capsys):
    def run(*, log: Path) -> None:
        raise AssertionError("not to be called")

    with pytest.raises(SystemExit) as exited:
        command(run, ["--log", "x", "--lgo", "y"])
    assert exited.value.code == 2
    assert "--lgo" in capsys.readouterr().err
