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
        stage_command(
            "pretrain",
            inputs("config source night classes"),
            outputs("model metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )


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
        stage_command(
            "simclr",
            inputs("config pretrained source night classes"),
            outputs("model metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )
