# LoopDA end to end. Results have one grammar:
#   results/<stage>/<experiment>/seed<k>/{model.pt, metrics.jsonl, config.yaml}
# data stages have no seed; logs/ and benchmarks/ mirror it. An experiment is an overlay in config.yaml; stages that are
# configured alike are shared, and belong to the first experiment that needs them (loopda/experiments.py).
from snakemake.utils import min_version, validate

min_version("9.0")


configfile: "config.yaml"


validate(config, "workflow/schemas/config.schema.json", set_default=False)


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/loopda.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    configure,
    seeds,


rule all:
    """Train, evaluate and report every experiment of `run`, for every seed of `seeds` (the default target)."""
    default_target: True
    input:
        expand("results/report/{experiment}/report.html", experiment=config["run"]),


rule seeds:
    """The table over `table_seeds` of every experiment of `run`."""
    input:
        "results/seeds/table.md",


onsuccess:
    show_tables()
