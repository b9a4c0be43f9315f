"""Train every GliZNet variant, and every competitor of the same recipe, with each seed."""


rule train_model:
    input:
        unpack(training_inputs),
    output:
        training=ROOT / "models" / "{model}" / "seed{seed}" / "training.json",
    log:
        ROOT / "logs" / "train-{model}-seed{seed}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        gpu=plan.gpus,
    params:
        run=plan.run,
        code=code_of_training,
        spec=spec_of("training", "model", "seed"),
        strategy=plan.strategy,
    message:
        "train {wildcards.model}, seed {wildcards.seed}"
    shell:
        "${{ZSBENCH_STEP:-}} zsbench launch --gpus {resources.gpu} --strategy {params.strategy}"
        " -- -m zsbench.cli job train --run {params.run} --model {wildcards.model} --seed {wildcards.seed} > {log} 2>&1"
