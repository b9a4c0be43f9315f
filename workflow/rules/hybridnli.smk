"""Encode the topic texts once with the frozen NLI model, then train the PolyEncoder heads."""


def hybrid_inputs(wildcards):
    """NLI model and topic rows of a hybrid."""
    spec = plan.hybrid_spec(wildcards.hybrid, wildcards.seed)
    nli = layout.model(spec["nli"], wildcards.seed) if spec["nli_kind"] == "trained" else layout.fetched(spec["nli"])
    return [nli, layout.dataset(spec["dataset"])]


rule train_hybrid:
    input:
        hybrid_inputs,
        code=code("zsbench.training.hybrid"),
    output:
        ROOT / "models" / "{hybrid}" / "seed{seed}" / "training.json",
    log:
        ROOT / "logs" / "train-{hybrid}-seed{seed}.log",
    params:
        spec=spec_of(plan.hybrid_spec, "hybrid", "seed"),
    resources:
        gpu=1,
    conda:
        "../envs/zsbench.yaml"
    message:
        "train {wildcards.hybrid}, seed {wildcards.seed}"
    shell:
        "{LAUNCH} -- -m zsbench.cli train-hybrid --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"


ruleorder: train_hybrid > train_model
