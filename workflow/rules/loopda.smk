rule warmup:
    """Inner and outer self-loops on labelled day, night and day reference (section 3.1)."""
    input:
        when_checked,
        config="results/warmup/{experiment}/seed{seed}/config.yaml",
        pretrained=upstream("pretrain", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/warmup/{experiment}/seed{seed}/model.pt",
        loops="results/warmup/{experiment}/seed{seed}/loops.pt",
        metrics="results/warmup/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/warmup/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/warmup/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "warmup"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[warmup]}python -m loopda.stages.warmup \
            --config {input.config:q} \
            --pretrained {input.pretrained:q} \
            --source {input.source:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --model {output.model:q} \
            --loops {output.loops:q} \
            --metrics {output.metrics:q} \
            --seed {wildcards.seed} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """


def day_candidates(wildcards):
    """The day images among which `pair` looks: the set `day`, or else night's references, or else source's images."""
    if "day" in experiments.sets(config, wildcards.experiment):
        return manifest("day")(wildcards)
    references = manifest_file(wildcards.experiment, "night", "{data_set}/references.csv")
    return [references, manifest("source")(wildcards)]


rule pair:
    """Find day references for night images by the label overlap ratio of their predictions (section 4.4)."""
    input:
        config="results/pair/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        night=manifest("night"),
        day=day_candidates,
        classes=classes,
    output:
        paired="results/pair/{experiment}/seed{seed}/night.csv",
        pairs="results/pair/{experiment}/seed{seed}/pairs.csv",
        ranking="results/pair/{experiment}/seed{seed}/ranking.json",
        sheet="results/pair/{experiment}/seed{seed}/contact_sheet.png",
    log:
        "logs/pair/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/pair/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        device=config["device"],
    shell:
        r"""
        python -m loopda.stages.pair \
            --config {input.config:q} \
            --warmed-up {input.warmed_up:q} \
            --night {input.night:q} \
            --day {input.day:q} \
            --classes {input.classes:q} \
            --paired {output.paired:q} \
            --pairs {output.pairs:q} \
            --ranking {output.ranking:q} \
            --sheet {output.sheet:q} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """


rule pseudo_labels:
    """Offline labels of night images and day references, with a threshold for each class."""
    input:
        config="results/pseudo_labels/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        night=paired_night,
        classes=classes,
    output:
        labels="results/pseudo_labels/{experiment}/seed{seed}/labels.csv",
        statistics="results/pseudo_labels/{experiment}/seed{seed}/statistics.json",
    log:
        "logs/pseudo_labels/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/pseudo_labels/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "pseudo_labels"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[pseudo_labels]}python -m loopda.stages.pseudo_labels \
            --config {input.config:q} \
            --warmed-up {input.warmed_up:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --labels {output.labels:q} \
            --statistics {output.statistics:q} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """


rule self_train:
    """Co-teaching by offline labels and Day-Night Agreement, with all loops (section 3.2)."""
    input:
        when_checked,
        config="results/self_train/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        loops=upstream("warmup", "loops.pt"),
        labels=upstream("pseudo_labels", "labels.csv"),
        source=manifest("source"),
        night=paired_night,
        classes=classes,
    output:
        model="results/self_train/{experiment}/seed{seed}/model.pt",
        metrics="results/self_train/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/self_train/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/self_train/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "self_train"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[self_train]}python -m loopda.stages.self_train \
            --config {input.config:q} \
            --warmed-up {input.warmed_up:q} \
            --loops {input.loops:q} \
            --labels {input.labels:q} \
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


rule distill:
    """The self-trained teacher teaches a self-supervised student at night (section 4.2)."""
    input:
        when_checked,
        config="results/distill/{experiment}/seed{seed}/config.yaml",
        teacher=upstream("self_train", "model.pt"),
        student=upstream("simclr", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/distill/{experiment}/seed{seed}/model.pt",
        metrics="results/distill/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/distill/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/distill/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "distill"),
    params:
        device=config["device"],
    shell:
        r"""
        {launch[distill]}python -m loopda.stages.distill \
            --config {input.config:q} \
            --teacher {input.teacher:q} \
            --student {input.student:q} \
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
