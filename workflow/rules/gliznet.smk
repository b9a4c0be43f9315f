"""Train every GliZNet variant, and every competitor of the same recipe, with each seed."""


def training_inputs(wildcards):
    """Backbone and rows of a training."""
    recipe = plan.trained[wildcards.model]["recipe"]
    return [layout.fetched(recipe["backbone"]), layout.training_set(recipe["training_set"])]


rule train_model:
    input:
        training_inputs,
        code=code("zsbench.training.run"),
    output:
        ROOT / "models" / "{model}" / "seed{seed}" / "training.json",
    log:
        ROOT / "logs" / "train-{model}-seed{seed}.log",
    params:
        spec=spec_of(plan.training_spec, "model", "seed"),
        strategy=plan.config["recipe"]["strategy"],
    resources:
        gpu=plan.gpus,
    conda:
        "../envs/zsbench.yaml"
    message:
        "train {wildcards.model}, seed {wildcards.seed}"
    shell:
        "{LAUNCH} --gpus {resources.gpu} --strategy {params.strategy}"
        " -- -m zsbench.training.run --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"
