"""Fetch and prepare. `fetch` is the only stage that touches the network."""

def dataset_manifest(wildcards):
    """Manifest of the source a test set is read from."""
    return layout.fetched(plan.dataset_spec(wildcards.dataset)["source"])


def training_set_manifest(wildcards):
    """Manifest of the source a training set is read from."""
    return layout.fetched(plan.training_set_spec(wildcards.training_set)["source"])


rule fetch:
    output:
        ROOT / "fetch" / "{source}" / "manifest.json",
    log:
        ROOT / "logs" / "fetch-{source}.log",
    params:
        spec=spec_of(plan.source_spec, "source"),
    resources:
        network=1,
    conda:
        "../envs/zsbench.yaml"
    message:
        "fetch {wildcards.source}"
    shell:
        "zsbench fetch --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"


rule prepare:
    input:
        dataset_manifest,
        code=code("zsbench.data.prepare"),
    output:
        rows=ROOT / "datasets" / "{dataset}" / "rows.parquet",
        card=ROOT / "datasets" / "{dataset}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{dataset}.log",
    params:
        spec=spec_of(plan.dataset_spec, "dataset"),
    conda:
        "../envs/zsbench.yaml"
    message:
        "prepare {wildcards.dataset}"
    shell:
        "zsbench prepare --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"


rule prepare_training:
    input:
        training_set_manifest,
        code=code("zsbench.data.training_sets"),
    output:
        rows=ROOT / "training_sets" / "{training_set}" / "rows.parquet",
        card=ROOT / "training_sets" / "{training_set}" / "card.json",
    log:
        ROOT / "logs" / "prepare-{training_set}.log",
    params:
        spec=spec_of(plan.training_set_spec, "training_set"),
    conda:
        "../envs/zsbench.yaml"
    message:
        "prepare {wildcards.training_set}"
    shell:
        "zsbench prepare-training --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"
