"""Train with each seed: GliZNet variants and competitors of the same recipe, then the heads of hybrids."""


rule train_model:
    input:
        unpack(training_inputs),
    output:
        training=layout.model("{model}", "{seed}"),
    log:
        ROOT / "logs" / "train-{model}-seed{seed}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        gpu=plan.gpus,
    params:
        run=plan.run,
        code=lambda wildcards: training_code(plan.trained[wildcards.model]["family"]),
        spec=spec_of("training", "model", "seed"),
        strategy=plan.strategy,
    message:
        "train {wildcards.model}, seed {wildcards.seed}"
    shell:
        "${{ZSBENCH_STEP:-}} zsbench launch --gpus {resources.gpu} --strategy {params.strategy}"
        " -- -m zsbench.cli job train --run {params.run} --model {wildcards.model} --seed {wildcards.seed} > {log} 2>&1"


rule train_hybrid:
    input:
        unpack(hybrid_inputs),
    output:
        training=layout.model("{hybrid}", "{seed}"),
    log:
        ROOT / "logs" / "train-{hybrid}-seed{seed}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        gpu=1,
    params:
        run=plan.run,
        code=code_digest("zsbench.training.hybrid"),
        spec=spec_of("hybrid", "hybrid", "seed"),
    message:
        "train {wildcards.hybrid}, seed {wildcards.seed}"
    shell:
        "zsbench launch -- -m zsbench.cli job train-hybrid --run {params.run} --model {wildcards.hybrid} --seed {wildcards.seed} > {log} 2>&1"
