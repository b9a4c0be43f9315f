"""Score every cell, one model load a system and seed; then metrics and comparisons from the scores alone."""

if plan.label_sets_spec:

    rule label_sets:
        input:
            [
                layout.fetched(model["backbone"])
                for model in plan.label_sets_spec["models"].values()
                if "backbone" in model
            ],
        output:
            LABEL_SETS,
        log:
            ROOT / "logs" / "label-sets.log",
        priority: 2  # a matter of seconds, whose answer is wanted before hours of training
        conda:
            "../envs/zsbench.yaml"
        params:
            code=code_digest("zsbench.evaluation.label_sets"),
            spec=canonical_json(plan.label_sets_spec),
        message:
            "look which label sets the systems to be trained cannot take"
        shell:
            "zsbench job label-sets --run {plan.run} 2>&1 | tee {log}"


for suites, systems in plan.systems_by_suites.items():
    tested = [(suite, name) for suite in suites for name in plan.datasets(suite)]

    rule:
        name:
            "score_" + "_".join(suites)
        input:
            system_model,
            imported_scores,
            rows=[layout.dataset(dataset) for _, dataset in tested],
            facts=[layout.dataset_card(dataset) for _, dataset in tested],
        output:
            scores=[layout.scores(*cell, "{system}", "{seed}") for cell in tested],
            cards=[layout.card(*cell, "{system}", "{seed}") for cell in tested],
        log:
            ROOT / "logs" / ("score-{system}-seed{seed}-" + "-".join(suites) + ".log"),
        wildcard_constraints:
            system="|".join(systems),
        conda:
            "../envs/zsbench.yaml"
        resources:
            gpu=1,
        params:
            code=code_of_system,
            specs=score_specs,
            failures=failures_before,
        message:
            "score {wildcards.system}, seed {wildcards.seed}: " + ", ".join(suites)
        shell:
            "zsbench launch -- -m zsbench.cli job score --run {plan.run} --system {wildcards.system} --seed {wildcards.seed} 2>&1 | tee {log}"


rule measure:
    input:
        scores=[layout.scores(*cell) for cell in plan.cells],
        cards=[layout.card(*cell) for cell in plan.cells],
    output:
        metrics=[layout.metrics(*cell) for cell in plan.cells],
        frames=expand(
            ROOT / "analysis" / "{name}.parquet",
            name=["metrics", "calibration", "reliability", "cost", "sensitivity"],
        ),
    log:
        ROOT / "logs" / "measure.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.evaluation.measure"),
        spec=spec_of("analysis"),
    message:
        "measure {} cells".format(len(plan.cells))
    shell:
        "zsbench job measure --run {plan.run} 2>&1 | tee {log}"


rule compare:
    input:
        frames=rules.measure.output.frames,
        scores=[layout.scores(*cell) for cell in plan.cells],
    output:
        deltas=ROOT / "analysis" / "deltas.parquet",
        ranks=ROOT / "analysis" / "ranks.parquet",
    log:
        ROOT / "logs" / "compare.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.evaluation.compare"),
        spec=spec_of("analysis"),
    message:
        "compare systems: paired deltas with intervals"
    shell:
        "zsbench job compare --run {plan.run} 2>&1 | tee {log}"


if plan.hardset_spec:

    rule hardset:
        input:
            [
                layout.model(model, plan.hardset_spec["seed"])
                for model in plan.hardset_spec["models"]
            ],
            layout.fetched(plan.hardset_spec["backbone"]),
        output:
            ROOT / "analysis" / "hardset.json",
        log:
            ROOT / "logs" / "hardset.log",
        priority: 1  # a long job that nothing waits for: beside the scoring rather than after it
        conda:
            "../envs/zsbench.yaml"
        params:
            code=code_digest("zsbench.evaluation.hardset"),
            spec=spec_of("hardset"),
        message:
            "measure hardset-mini's test split: trained against untrained"
        shell:
            "zsbench job hardset --run {plan.run} 2>&1 | tee {log}"
