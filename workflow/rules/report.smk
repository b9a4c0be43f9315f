"""Tables, figures and pages: pure functions of the analysis frames."""

ANALYSIS = [ROOT / "analysis" / f"{name}.parquet" for name in ("metrics", "calibration", "reliability", "cost", "deltas")]


def reported(kind, name, suffix, label):
    """A file that Snakemake's own report shows, with its caption, category and label."""
    return report(
        REPORTS / kind / f"{name}.{suffix}",
        caption=str(WORKFLOW / "report" / f"{name}.rst"),
        category=kind.capitalize(),
        labels={"name": name.replace("_", " "), "format": label},
    )


rule write_tables:
    input:
        ANALYSIS,
        cards=[layout.dataset_card(dataset) for dataset in plan.all_datasets],
        published=WORKFLOW / "resources" / "published.yaml",
        code=code("zsbench.reporting.tables"),
    output:
        [REPORTS / "tables" / f"{name}.{kind}" for name in plan.tables for kind in ("md", "tex")],
        [reported("tables", name, "csv", "csv") for name in plan.tables],
    log:
        ROOT / "logs" / "tables.log",
    params:
        spec=canonical_json(plan.analysis_spec),
    conda:
        "../envs/zsbench.yaml"
    message:
        "write the tables"
    shell:
        "zsbench tables --root {ROOT} --spec {params.spec:q} --out {REPORTS}/tables 2>&1 | tee {log}"


rule write_figures:
    input:
        ANALYSIS,
        scores=[layout.scores(*cell) for cell in plan.cells if cell[0] == "topics"],
        models=[layout.model(model, seed) for model in [*plan.trained, *plan.config["hybrid"]] for seed in plan.seeds],
        code=code("zsbench.reporting.figures"),
    output:
        [REPORTS / "figures" / f"{name}.png" for name in plan.figures],
        [reported("figures", name, "svg", "svg") for name in plan.figures],
    log:
        ROOT / "logs" / "figures.log",
    params:
        spec=canonical_json(plan.analysis_spec),
    conda:
        "../envs/zsbench.yaml"
    message:
        "draw the figures"
    shell:
        "zsbench figures --root {ROOT} --spec {params.spec:q} --out {REPORTS}/figures 2>&1 | tee {log}"


rule write_report:
    input:
        rules.write_tables.output,
        rules.write_figures.output,
        cards=[layout.card(*cell) for cell in plan.cells],
        metrics=[layout.metrics(*cell) for cell in plan.cells],
        code=code("zsbench.reporting.pages"),
        templates=sorted(Path("src/zsbench/reporting/templates").glob("*")),
    output:
        report(REPORTS / "index.html", caption="../report/index.rst", category="Report", labels={"name": "whole report", "format": "html"}),
        REPORTS / "REPORT.md",
    log:
        ROOT / "logs" / "report.log",
    params:
        spec=canonical_json(plan.analysis_spec),
    conda:
        "../envs/zsbench.yaml"
    message:
        "write the report"
    shell:
        "zsbench report --root {ROOT} --spec {params.spec:q} --out {REPORTS} 2>&1 | tee {log}"
