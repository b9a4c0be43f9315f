"""Encode the topic texts once with the frozen NLI model, then train the PolyEncoder heads."""


rule train_hybrid:
    input:
        unpack(hybrid_inputs),
    output:
        training=ROOT / "models" / "{hybrid}" / "seed{seed}" / "training.json",
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


ruleorder: train_hybrid > train_model
