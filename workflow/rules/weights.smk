from loopda.weights.formats import needs_packages


def section_of_convert(wildcards):
    return experiments.section(config, wildcards.experiment, "convert")


def size_of_evaluate(wildcards):
    """Width and height of the images that `evaluate` scores, for which an exported graph is made."""
    return experiments.section(config, wildcards.experiment, "evaluate")["input"]["size"]


def model_to_export(wildcards):
    """The model to export. Fails before anything is trained if a package that the format needs is missing."""
    try:
        needs_packages(f".{wildcards.suffix}")
    except ConfigError as error:
        raise WorkflowError(str(error)) from None
    return model_of_stage(wildcards)


rule convert:
    """Convert a model that others trained to a checkpoint of this package, so that `evaluate` can score it."""
    input:
        classes=classes,
    output:
        model="results/convert/{experiment}/seed{seed}/model.pt",
    log:
        "logs/convert/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/convert/{experiment}/seed{seed}.tsv"
    params:
        section=section_of_convert,
    shell:
        r"""
        python -m loopda.stages.convert \
            --weights {params.section[weights]:q} \
            --aspp-branches {params.section[aspp_branches]} \
            --classes {input.classes:q} \
            --model {output.model:q} \
            --log {log:q}
        """


rule export:
    """Export one stage's model: as the authors' student.pth (pth), as safetensors, or as onnx."""
    input:
        model=model_to_export,
    output:
        exported="results/export/{experiment}/seed{seed}/{stage}.{suffix}",
    log:
        "logs/export/{experiment}/seed{seed}/{stage}.{suffix}.log",
    benchmark:
        "benchmarks/export/{experiment}/seed{seed}/{stage}.{suffix}.tsv"
    wildcard_constraints:
        suffix="pth|safetensors|onnx",
    threads: 2
    params:
        size=size_of_evaluate,
    shell:
        stage_command(
            "export",
            inputs("model"),
            outputs("exported"),
            "--domain night --width {params.size[0]} --height {params.size[1]} --threads {threads}",
        )
