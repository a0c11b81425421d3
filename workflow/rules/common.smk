# What the rules share: where files are, and what a stage is told. Nothing here reads a result or imports torch.
import json
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from loopda import comparisons, experiments, vouch
from loopda.claims import claims
from loopda.errors import ConfigError

with open(workflow.source_path("../schemas/config.schema.json")) as file:
    schemas = json.load(file)

with open("config.yaml") as file:
    config.update(experiments.in_order(config, yaml.safe_load(file)))

try:
    experiments.check(config, schemas)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

config[experiments.CLAIMS] = claims(config, Path())

if vouch.copied_without_times(config):
    raise WorkflowError(
        "results/: copied without their times and without .snakemake, so that finished models would be removed and"
        " trained again. Compare them with their records: python -m loopda.vouch, with the same --configfile; then run"
        " this again. To make all anew, remove results/"
    )


wildcard_constraints:
    experiment=r"[\w.-]+",
    names=r"[\w.+-]+",
    seed=r"\d+",
    stage=r"[a-z_]+",
    data_set=r"[a-z_]+(/[\w-]+)?",


def upstream(stage, name):
    """The input function of a rule that reads the file `name` of `stage`."""

    def path(wildcards):
        experiment = experiments.owner(config, wildcards.experiment, stage)
        return f"results/{stage}/{experiment}/seed{wildcards.seed}/{name}"

    return path


def manifest_file(experiment, data_set, name="{data_set}.csv"):
    """The path of a file that `manifest` writes of a set of `experiment`."""
    folder = experiments.owner_of_set(config, experiment, data_set)
    return f"results/manifest/{folder}/{name.format(data_set=data_set)}"


def manifest(data_set):
    """The input function of a rule that reads the manifest of a set; nothing where the experiment has no such set."""

    def path(wildcards):
        known = experiments.sets(config, wildcards.experiment)
        return manifest_file(wildcards.experiment, data_set) if data_set in known else []

    return path


def classes(wildcards):
    """The class list, which lies beside each manifest of an experiment."""
    known = experiments.sets(config, wildcards.experiment)
    first = next(name for name in ("source", *known) if name in known)
    return manifest_file(wildcards.experiment, first, "{data_set}/classes.json")


def when_checked(wildcards):
    """What a training waits for: the data are checked, all sets together. It does not run again for that."""
    return ancient(f"results/prepare/{wildcards.experiment}/checked")


def paired_night(wildcards):
    """The night manifest of self-training: with the references that `pair` finds, where that is enabled."""
    if experiments.pairs(config, wildcards.experiment):
        return upstream("pair", "night.csv")(wildcards)
    return manifest("night")(wildcards)


def translated_source(wildcards):
    """The manifest of translated day images, for a method that learns from them."""
    wanted = experiments.translates(config, wildcards.experiment)
    return upstream("translate", "source.csv")(wildcards) if wanted else []


def set_section(experiment, *data_set):
    """What the stage `manifest` is told of a set; refused where the town's and others' images are mixed."""
    if faults := experiments.faults_of_data(config, experiment):
        raise WorkflowError("\n".join(f"configuration: {fault}" for fault in faults))
    return experiments.set_section(config, experiment, "/".join(data_set))


def section_text(wildcards):
    """The resolved section for results/<folder>/config.yaml, as YAML."""
    stage, *experiment = wildcards.folder.split("/")
    if stage in experiments.COMPARISONS:
        return experiments.as_yaml(comparisons.table(config, stage))
    if stage == "manifest":
        return experiments.as_yaml(set_section(*experiment))
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

    for name in config["run"]:
        table = Path(f"results/report/{name}/table.txt")
        if table.exists():
            print(f"\n{table.read_text()}")
    table = Path("results/tables/" + "+".join(config["run"]) + ".md")
    if table.exists():
        print(f"\n{table.read_text()}")
