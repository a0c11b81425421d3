rule pretrain:
    """Train the segmentation network on labelled day images: the source-only model."""
    input:
        when_checked,
        config="results/pretrain/{experiment}/seed{seed}/config.yaml",
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/pretrain/{experiment}/seed{seed}/model.pt",
        metrics="results/pretrain/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/pretrain/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/pretrain/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "pretrain"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[pretrain]}python -m loopda.stages.pretrain \
            --config {input.config:q} \
            --source {input.source:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --model {output.model:q} \
            --metrics {output.metrics:q} \
            --seed {wildcards.seed} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """


def start_of_simclr(wildcards):
    needed = "pretrain" in experiments.parents_read(config, wildcards.experiment, "simclr")
    return upstream("pretrain", "model.pt")(wildcards) if needed else []


rule simclr:
    """Pretrain the backbone of the distilled student without labels, or import SimCLRv2 weights."""
    input:
        when_checked,
        config="results/simclr/{experiment}/seed{seed}/config.yaml",
        pretrained=start_of_simclr,
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/simclr/{experiment}/seed{seed}/model.pt",
        metrics="results/simclr/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/simclr/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/simclr/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "simclr"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[simclr]}python -m loopda.stages.simclr \
            --config {input.config:q} \
            --pretrained {input.pretrained:q} \
            --source {input.source:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --model {output.model:q} \
            --metrics {output.metrics:q} \
            --seed {wildcards.seed} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """
