# LoopDA end to end. Results have one grammar:
#   results/<stage>/<experiment>/seed<k>/{model.pt, metrics.jsonl, config.yaml}
# data stages have no seed; logs/ and benchmarks/ mirror it. An experiment is an overlay in config.yaml; stages that are
# configured alike are shared, and belong to the experiment that has trained them, else to the first that needs them
# (loopda/pipeline/experiments.py, loopda/pipeline/claims.py).
from os.path import exists

from snakemake.utils import min_version

from loopda.text.strict_yaml import read_mapping

min_version("9.0")

# the configuration of this folder; where there is none, and in a module of another workflow, the one beside this file
is_own = workflow.modifier.parent_modifier is None and exists("config.yaml")
base_file = "config.yaml" if is_own else workflow.source_path("config.yaml")
base = read_mapping(base_file)  # before Snakemake reads it, which says less of what is wrong in it


configfile: base_file


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/loopda.smk"
include: "workflow/rules/adapt.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    configure,
    checked,


rule all:
    """Train, evaluate and report every experiment of `run`, for every seed of `seeds` (the default target)."""
    default_target: True
    input:
        expand("results/report/{experiment}/report.html", experiment=config["run"]),
        submissions,


onsuccess:
    show_tables()
