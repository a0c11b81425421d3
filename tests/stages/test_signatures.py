"""The flags of a rule's command are the parameters of the stage's run(), and name the rule's files."""

import functools
import importlib
import inspect
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from loopda.pipeline import comparisons, experiments
from loopda.pipeline.jobs import Job
from loopda.pipeline.stages import STAGES
from loopda.runtime.command import command

# Its images are a user's own, which no experiment of config.yaml knows; so no rule calls it.
BY_HAND = {"predict"}
# By hand `prepare` checks all sets itself and writes their manifests; in the workflow `manifest` does, one by one.
FLAGS_BY_HAND = {"prepare": {"town", "source", "night", "day-val", "night-val", "day"}}

RULES = Path(__file__).parents[2] / "workflow" / "rules"


class Rule(NamedTuple):
    """A rule that calls a stage, as its text says."""

    name: str
    stage: str
    flags: dict[str, str]  # --flag: what follows it
    inputs: dict[str, str]
    outputs: dict[str, str]
    text: str


def stage_rules() -> list[Rule]:
    rules = []
    for file in sorted(RULES.glob("*.smk")):
        blocks = re.split(r"^rule (\w+):\n", file.read_text(), flags=re.MULTILINE)[1:]
        for name, text in zip(blocks[::2], blocks[1::2], strict=True):
            shell = re.search(r'shell:\s+r?"""(.*?)"""', text, flags=re.DOTALL)
            called = shell and re.search(r"python -m loopda\.stages\.(\w+)", shell[1])
            if called:
                flags = re.findall(r"--([a-z-]+) (\{[^}]*\}|\S+)", shell[1])
                assert len(dict(flags)) == len(flags), f"{name} repeats a flag"
                rules.append(Rule(name, called[1], dict(flags), named(text, "input"), named(text, "output"), text))
    return rules


def named(text: str, directive: str) -> dict[str, str]:
    """name: value of each named file in the directive of a rule."""
    block = re.search(rf"^    {directive}:\n((?:        .*\n)+)", text, flags=re.MULTILINE)
    return dict(re.findall(r"^        (\w+)=(.*),$", block[1], flags=re.MULTILINE)) if block else {}


STAGE_RULES = stage_rules()
IDS = [rule.name for rule in STAGE_RULES]


def section_of(rule: Rule, config: dict) -> dict:
    """What the rule `configure` writes for the stage."""
    if rule.stage in experiments.COMPARISONS:
        return comparisons.table(config, rule.stage)
    if rule.stage == "manifest":
        return experiments.set_section(config, "smoke", "night")
    return experiments.section(config, "smoke", rule.stage)


def run_of(rule: Rule):
    return importlib.import_module(f"loopda.stages.{rule.stage}").run


def test_every_stage_has_a_rule_of_its_name_and_every_module_of_a_stage_is_called():
    modules = {path.stem for path in (RULES.parents[1] / "loopda" / "stages").glob("[a-z]*.py")}
    assert {rule.stage for rule in STAGE_RULES} == modules - BY_HAND
    assert {rule.name for rule in STAGE_RULES} >= set(STAGES)
    assert all(rule.name == rule.stage for rule in STAGE_RULES if rule.name in STAGES)


@pytest.mark.parametrize("rule", STAGE_RULES, ids=IDS)
def test_the_flags_of_the_command_are_the_parameters_of_run(rule):
    parameters = {name.replace("_", "-") for name in inspect.signature(run_of(rule)).parameters}
    assert set(rule.flags) == parameters - FLAGS_BY_HAND.get(rule.stage, set())


@pytest.mark.parametrize("rule", STAGE_RULES, ids=IDS)
def test_each_named_input_and_output_is_the_value_of_the_flag_of_its_name(rule):
    assert rule.inputs or rule.name == "town"
    assert rule.outputs
    for kind, names in (("input", rule.inputs), ("output", rule.outputs)):
        for name in names:
            assert rule.flags[name.replace("_", "-")] == f"{{{kind}.{name}:q}}"


@pytest.mark.parametrize("rule", STAGE_RULES, ids=IDS)
def test_each_rule_has_a_description_a_log_and_a_benchmark_under_the_name_of_its_results(rule):
    assert re.match(r'    """[A-Z].*\.?"""\n', rule.text)
    log = re.search(r'log:\n        "logs/(.*)\.log",', rule.text)
    benchmark = re.search(r'benchmark:\n        "benchmarks/(.*)\.tsv"', rule.text)
    assert log
    assert benchmark
    assert log[1] == benchmark[1]
    assert log[1].split("/")[0] in ("tables" if rule.name == "table" else rule.name)


@pytest.mark.parametrize("rule", STAGE_RULES, ids=IDS)
def test_the_files_by_which_the_status_knows_a_job_are_the_outputs_and_the_log_of_its_rule(rule):
    if rule.name in ("export", "table"):  # asked for by hand, and done in a moment
        assert rule.name not in STAGES
        return
    values = {"experiment": "mine", "comparison": "mine", "seed": 7, "stage": "warmup", "data_set": "night"}
    outputs = {output.strip('"').format(**values) for output in rule.outputs.values()}
    log = re.search(r'log:\n        "(.*)",', rule.text)[1]
    job = Job(
        rule.name,
        "" if rule.name == "town" else "mine",
        7 if "{seed}" in log else None,
        "warmup" if "{stage}" in log else "",
        "night" if "{data_set}" in log else "",
    )
    assert set(job.files) == outputs
    assert f"logs/{job.place}.log" == log.format(**values)


@pytest.mark.parametrize("rule", STAGE_RULES, ids=IDS)
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
