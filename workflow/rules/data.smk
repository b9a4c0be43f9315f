"""Fetch and prepare. `fetch` is the only job that uses the network."""


rule fetch:
    output:
        manifest=layout.fetched("{source}"),
    log:
        ROOT / "logs" / "fetch-{source}.log",
    localrule: True  # compute nodes often have no network
    conda:
        "../envs/zsbench.yaml"
    resources:
        network=1,
    params:
        run=plan.run,
        content=lambda wildcards: content_at_hand(plan.source_spec(wildcards.source)),
        spec=spec_of("source", "source"),
    message:
        "fetch {wildcards.source}"
    shell:
        "zsbench job fetch --run {params.run} --source {wildcards.source} > {log} 2>&1"


rule manifest:
    input:
        manifests=[layout.fetched(source) for source in plan.sources],
    output:
        manifest=layout.manifest,
    log:
        ROOT / "logs" / "manifest.log",
    localrule: True
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.data.fetched"),
        spec=spec_of("manifest"),
    message:
        "list the files of all sources"
    shell:
        "zsbench job manifest --run {params.run} > {log} 2>&1"


rule prepare:
    input:
        source=lambda wildcards: layout.fetched(
            plan.dataset_spec(wildcards.dataset)["source"]
        ),
    output:
        rows=layout.dataset("{dataset}"),
        card=layout.dataset_card("{dataset}"),
    log:
        ROOT / "logs" / "prepare-{dataset}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.data.prepare"),
        spec=spec_of("dataset", "dataset"),
    message:
        "prepare {wildcards.dataset}"
    shell:
        "zsbench job prepare --run {params.run} --dataset {wildcards.dataset} > {log} 2>&1"


rule prepare_training:
    input:
        source=lambda wildcards: layout.fetched(
            plan.training_set_spec(wildcards.training_set)["source"]
        ),
    output:
        rows=layout.training_set("{training_set}"),
        card=layout.training_set_card("{training_set}"),
    log:
        ROOT / "logs" / "training-set-{training_set}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.data.training_sets"),
        spec=spec_of("training_set", "training_set"),
    message:
        "prepare {wildcards.training_set}"
    shell:
        "zsbench job prepare-training --run {params.run} --training-set {wildcards.training_set} > {log} 2>&1"


rule overlap:
    input:
        datasets=[layout.dataset(dataset) for dataset in plan.all_datasets],
        training_sets=[layout.training_set(name) for name in plan.training_sets],
    output:
        overlap=ROOT / "analysis" / "overlap.json",
    log:
        ROOT / "logs" / "overlap.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.data.contamination"),
        spec=spec_of("overlap"),
    message:
        "find test texts that occur in training sets"
    shell:
        "zsbench job overlap --run {params.run} > {log} 2>&1"


rule check:
    log:
        ROOT / "logs" / "check.log",
    localrule: True
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
    message:
        "check whether the run can start"
    shell:
        "zsbench job check --run {params.run} > {log} 2>&1"
