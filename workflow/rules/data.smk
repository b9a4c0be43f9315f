"""Fetch and prepare. `fetch` is the only stage that touches the network."""


rule fetch:
    output:
        ROOT / "fetch" / "{source}" / "manifest.json",
    log:
        ROOT / "logs" / "fetch-{source}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        network=1,
    params:
        content=content_of_source,
        spec=spec_of("source", "source"),
    message:
        "fetch {wildcards.source}"
    shell:
        "zsbench job fetch --run {plan.run} --source {wildcards.source} 2>&1 | tee {log}"


rule manifest:
    input:
        [layout.fetched(source) for source in plan.sources],
    output:
        layout.manifest,
    log:
        ROOT / "logs" / "manifest.log",
    localrule: True
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.fetched"),
        spec=spec_of("manifest"),
    message:
        "gather what {} sources came from".format(len(plan.sources))
    shell:
        "zsbench job manifest --run {plan.run} 2>&1 | tee {log}"


rule prepare:
    input:
        dataset_manifest,
    output:
        rows=ROOT / "datasets" / "{dataset}" / "rows.parquet",
        card=ROOT / "datasets" / "{dataset}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{dataset}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.prepare"),
        spec=spec_of("dataset", "dataset"),
    message:
        "prepare {wildcards.dataset}"
    shell:
        "zsbench job prepare --run {plan.run} --dataset {wildcards.dataset} 2>&1 | tee {log}"


rule prepare_training:
    input:
        training_set_manifest,
    output:
        rows=ROOT / "training_sets" / "{training_set}" / "rows.parquet",
        card=ROOT / "training_sets" / "{training_set}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{training_set}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.training_sets"),
        spec=spec_of("training_set", "training_set"),
    message:
        "prepare {wildcards.training_set}"
    shell:
        "zsbench job prepare-training --run {plan.run} --training-set {wildcards.training_set} 2>&1 | tee {log}"


rule overlap:
    input:
        [layout.dataset(dataset) for dataset in plan.all_datasets],
        [layout.training_set(name) for name in plan.training_sets],
    output:
        ROOT / "analysis" / "overlap.json",
    log:
        ROOT / "logs" / "overlap.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.contamination"),
        spec=spec_of("overlap"),
    message:
        "look for test texts in the training sets"
    shell:
        "zsbench job overlap --run {plan.run} 2>&1 | tee {log}"


rule check:
    log:
        ROOT / "logs" / "check.log",
    localrule: True
    conda:
        "../envs/zsbench.yaml"
    message:
        "check what the run depends on"
    shell:
        "zsbench job check --run {plan.run} 2>&1 | tee {log}"
