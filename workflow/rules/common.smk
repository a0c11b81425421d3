# What the rules share: where files are, and what a stage is told. Nothing here reads a result or imports torch.
from snakemake.exceptions import WorkflowError

from loopda import comparisons, experiments
from loopda.errors import ConfigError
from loopda.schema import read_schemas
from loopda.strict_yaml import read_mapping, refuse_equal_keys

# Snakemake has read and merged the files of the configuration, and dropped what they say twice: read them again
try:
    if workflow.modifier.skip_configfile:  # a module's `config:` lies over config.yaml beside the Snakefile
        overlays = [config]
        config = experiments.laid_over(experiments.laid_over(config, base), config)
    else:
        overlays = [*map(read_mapping, workflow.overwrite_configfiles), workflow.config_settings.config]
    for path in workflow.configfiles:
        if path not in (base_file, *workflow.overwrite_configfiles) or workflow.modifier.skip_configfile:
            refuse_equal_keys(path)  # all that is our business in a file of another workflow
    config = experiments.of_files(config, base, overlays)
    experiments.check(config, read_schemas())
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
# Snakemake fills in the commands of a module's rules with the names of the workflow that uses it
if workflow.modifier_stack[0].globals.setdefault("launch", launch) != launch:
    raise WorkflowError("the name 'launch' is LoopDA's in a workflow that uses it as a module; choose another")


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
