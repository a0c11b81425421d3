# LoopDA end to end. All results have a place of the same form; logs/ and benchmarks/ mirror it:
#   results/<stage>/<experiment>/seed<k>/{model.pt, metrics.jsonl, config.yaml}    data stages have no seed
#   results/<list>/{report.html, table.md, table.csv}    for the lists of config.yaml: run, compare, ablation, tau, ...
#   results/search/{report.html, table.md, table.csv, best.yaml}    the search over settings
# An experiment is an overlay in config.yaml. Experiments share the stages that are configured alike. A shared stage is
# in the folder of the experiment that has trained it, or else of the first in the file
# (loopda/pipeline/experiments.py, loopda/pipeline/claims.py).
from os.path import exists

from snakemake.utils import min_version

from loopda.text.strict_yaml import read_mapping

min_version("9.0")

# config.yaml in the working folder; if there is none, or in a module of another workflow, the one beside this file
is_own = workflow.modifier.parent_modifier is None and exists("config.yaml")
base_file = "config.yaml" if is_own else workflow.source_path("config.yaml")
base = read_mapping(base_file)  # read here first: our messages about faults in the file say more than Snakemake's


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
