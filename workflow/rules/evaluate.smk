"""Score every cell, one model load a system and seed; then metrics and comparisons from the scores alone."""

def system_model(wildcards):
    """What a system's weights come from: a training record, a fetched manifest, or nothing."""
    system = plan.systems[wildcards.system]
    if system.model is None:
        return []
    kind, name = system.model
    if kind == "source":
        return [layout.fetched(source) for source in (name, system.settings.get("nli")) if source]
    return [layout.model(name, wildcards.seed)]


def system_modules(wildcards):
    """The code a system's scores depend on."""
    return code("zsbench.evaluation.scoring", FAMILIES[plan.systems[wildcards.system].family].module)


for suite in plan.config["suites"]:

    rule:
        name:
            f"score_{suite}"
        input:
            system_model,
            system_modules,
            rows=[layout.dataset(dataset) for dataset in plan.datasets(suite)],
            cards=[layout.dataset_card(dataset) for dataset in plan.datasets(suite)],
        output:
            scores=[layout.scores(suite, dataset, "{system}", "{seed}") for dataset in plan.datasets(suite)],
            cards=[layout.card(suite, dataset, "{system}", "{seed}") for dataset in plan.datasets(suite)],
        log:
            ROOT / "logs" / f"score-{suite}-{{system}}-seed{{seed}}.log",
        params:
            spec=spec_of(partial(plan.score_spec, suite), "system", "seed"),
        resources:
            gpu=1,
        conda:
            "../envs/zsbench.yaml"
        message:
            f"score suite {suite} with {{wildcards.system}}, seed {{wildcards.seed}}"
        shell:
            "{LAUNCH} -- -m zsbench.cli score --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"


rule measure:
    input:
        scores=[layout.scores(*cell) for cell in plan.cells],
        cards=[layout.card(*cell) for cell in plan.cells],
        code=code("zsbench.evaluation.measure"),
    output:
        metrics=[layout.metrics(*cell) for cell in plan.cells],
        frames=expand(ROOT / "analysis" / "{name}.parquet", name=["metrics", "calibration", "reliability", "cost", "sensitivity"]),
    log:
        ROOT / "logs" / "measure.log",
    params:
        spec=canonical_json(plan.analysis_spec),
    conda:
        "../envs/zsbench.yaml"
    message:
        "measure {} cells".format(len(plan.cells))
    shell:
        "zsbench measure --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"


rule compare:
    input:
        frames=rules.measure.output.frames,
        scores=[layout.scores(*cell) for cell in plan.cells],
        code=code("zsbench.evaluation.compare"),
    output:
        ROOT / "analysis" / "deltas.parquet",
    log:
        ROOT / "logs" / "compare.log",
    params:
        spec=canonical_json(plan.analysis_spec),
    conda:
        "../envs/zsbench.yaml"
    message:
        "compare systems: paired deltas with intervals"
    shell:
        "zsbench compare-cells --root {ROOT} --spec {params.spec:q} 2>&1 | tee {log}"
