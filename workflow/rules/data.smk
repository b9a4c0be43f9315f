"""Fetch and prepare. `fetch` is the only stage that touches the network."""


rule fetch:
    output:
        manifest=ROOT / "fetch" / "{source}" / "manifest.json",
    log:
        ROOT / "logs" / "fetch-{source}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        network=1,
    params:
        content=content_of_source,
        root=root_of_outputs,
        spec=spec_of("source", "source"),
    message:
        "fetch {wildcards.source}"
    shell:
        "zsbench fetch --root {params.root} --spec @{params.root}/config.json:source:{wildcards.source} 2>&1 | tee {log}"


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
        code=code_digest("zsbench.data.fetched"),
        root=ROOT,
        spec=spec_of("manifest"),
    message:
        "gather the origins of {} sources".format(len(plan.sources))
    shell:
        "zsbench manifest --root {params.root} --spec @{params.root}/config.json:manifest 2>&1 | tee {log}"


rule prepare:
    input:
        source=dataset_manifest,
    output:
        rows=ROOT / "datasets" / "{dataset}" / "rows.parquet",
        card=ROOT / "datasets" / "{dataset}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{dataset}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.prepare"),
        root=root_of_outputs,
        spec=spec_of("dataset", "dataset"),
    message:
        "prepare {wildcards.dataset}"
    shell:
        "zsbench prepare --root {params.root} --spec @{params.root}/config.json:dataset:{wildcards.dataset} 2>&1 | tee {log}"


rule prepare_training:
    input:
        source=training_set_manifest,
    output:
        rows=ROOT / "training_sets" / "{training_set}" / "rows.parquet",
        card=ROOT / "training_sets" / "{training_set}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{training_set}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.data.training_sets"),
        root=root_of_outputs,
        spec=spec_of("training_set", "training_set"),
    message:
        "prepare {wildcards.training_set}"
    shell:
        "zsbench prepare-training --root {params.root} --spec @{params.root}/config.json:training_set:{wildcards.training_set} 2>&1 | tee {log}"


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
        code=code_digest("zsbench.data.contamination"),
        root=root_of_outputs,
        spec=spec_of("overlap"),
    message:
        "find test texts in the training sets"
    shell:
        "zsbench overlap --root {params.root} --spec @{params.root}/config.json:overlap 2>&1 | tee {log}"


rule check:
    log:
        ROOT / "logs" / "check.log",
    localrule: True
    conda:
        "../envs/zsbench.yaml"
    params:
        root=ROOT,
        spec=canonical_json(overview.check_spec(plan)),
    message:
        "check whether the run can start"
    shell:
        "zsbench check --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"
