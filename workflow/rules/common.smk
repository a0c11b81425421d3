# What the rules share: where files are, and what a stage is told. Nothing here reads a result or imports torch.
import json

import yaml
from snakemake.exceptions import WorkflowError

from loopda import comparisons, experiments, names
from loopda.errors import ConfigError
from loopda.text import check_encoding, replace_what_cannot_be_shown

with open(workflow.source_path("../schemas/config.schema.json"), encoding="utf-8") as file:
    schemas = json.load(file)

with open("config.yaml", encoding="utf-8") as file:
    config["experiments"] = experiments.in_order(config, list(yaml.safe_load(file)["experiments"]))

try:
    check_encoding(config)
    experiments.check(config, schemas)
except ConfigError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    experiment=r"[\w.-]+",
    names=r"[\w.+-]+",
    seed=r"\d+",
    stage=r"[a-z_]+",


def upstream(stage, name):
    """The input function of a rule that reads the file `name` of `stage`."""

    def path(wildcards):
        experiment = experiments.owner(config, wildcards.experiment, stage)
        return f"results/{stage}/{experiment}/seed{wildcards.seed}/{name}"

    return path


def prepared(name):
    """The input function of a rule that reads the file `name` of `prepare`."""

    def path(wildcards):
        experiment = experiments.owner(config, wildcards.experiment, "prepare")
        return f"results/prepare/{experiment}/{name}"

    return path


def paired_night(wildcards):
    """The night manifest of self-training: with the references that `pair` finds, where that is enabled."""
    if experiments.pairs(config, wildcards.experiment):
        return upstream("pair", "night.csv")(wildcards)
    return prepared("night.csv")(wildcards)


def translated_source(wildcards):
    """The manifest of translated day images, for a method that learns from them."""
    wanted = experiments.translates(config, wildcards.experiment)
    return upstream("translate", "source.csv")(wildcards) if wanted else []


def section_text(wildcards):
    """The resolved section for results/<folder>/config.yaml, as YAML."""
    stage, *experiment = wildcards.folder.split("/")
    if stage in experiments.COMPARISONS:
        return experiments.as_yaml(comparisons.table(config, stage))
    experiment = experiment[0] if experiment else next(iter(config["experiments"]))
    return experiments.as_yaml(experiments.section(config, experiment, stage))


# what stands before the command of a stage that several processes share; no parameter of its rule, for results are the
# same, so that nothing runs again for it
launch = {
    stage: f"torchrun --standalone --nproc-per-node {count} --shutdown-timeout 120 --no-python -- " if count > 1 else ""
    for stage in experiments.SHARED_STAGES
    for count in [experiments.processes(config, stage)]
}


rule configure:
    """Write a stage's resolved section beside its result: the stage runs again when this file's content changes."""
    output:
        "results/{folder}/config.yaml",
    params:
        section=section_text,
    shell:
        r"printf '%s' {params.section:q} > {output:q}"


def show_tables():
    """Print what the finished run shows: the newest table of each experiment of `run`, and where its page is."""
    from pathlib import Path

    replace_what_cannot_be_shown()
    for name in config["run"]:
        table = Path(f"results/report/{name}/table.txt")
        if table.exists():
            print("", table.read_text(encoding="utf-8"), sep="\n")
    table = Path(f"results/tables/{names.joined(config['run'])}.md")
    if table.exists():
        print("", table.read_text(encoding="utf-8"), sep="\n")
