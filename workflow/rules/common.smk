# What the rules share: where files are, and what a stage is told. Nothing here reads a result or imports torch.
from loopda import experiments

experiments.check(config)


wildcard_constraints:
    experiment=r"[\w.-]+",
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


def section_text(wildcards):
    """The resolved section for results/<folder>/config.yaml, as YAML."""
    stage, *experiment = wildcards.folder.split("/")
    experiment = experiment[0] if experiment else next(iter(config["experiments"]))
    return experiments.as_yaml(experiments.section(config, experiment, stage))


rule configure:
    """Write a stage's resolved section beside its result: the stage runs again when this file's content changes."""
    output:
        "results/{folder}/config.yaml",
    params:
        section=section_text,
    shell:
        r"printf '%s' {params.section:q} > {output:q}"
