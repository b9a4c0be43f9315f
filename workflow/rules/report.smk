"""Tables, figures and pages: pure functions of the analysis frames."""

ANALYSIS = [
    ROOT / "analysis" / f"{name}.parquet"
    for name in (
        "metrics",
        "calibration",
        "reliability",
        "cost",
        "sensitivity",
        "deltas",
        "ranks",
    )
]

TRAININGS = [
    layout.model(model, seed)
    for model in [*plan.trained, *plan.config["hybrid"]]
    for seed in plan.seeds
]


rule write_tables:
    input:
        ANALYSIS,
        models=TRAININGS,
        overlap=rules.overlap.output,
        cards=[layout.dataset_card(dataset) for dataset in plan.all_datasets],
        published=WORKFLOW / "resources" / "published.yaml",
    output:
        [
            REPORTS / "tables" / f"{name}.{kind}"
            for name in plan.tables
            for kind in ("md", "tex", "notes.txt")
        ],
        [reported("tables", name, "csv", "csv") for name in plan.tables],
    log:
        ROOT / "logs" / "tables.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.reporting.tables"),
        spec=spec_of("analysis"),
    message:
        "write the tables"
    shell:
        "zsbench job tables --run {plan.run} 2>&1 | tee {log}"


rule write_figures:
    input:
        ANALYSIS,
        scores=[layout.scores(*cell) for cell in plan.cells if cell[0] == "topics"],
        models=TRAININGS,
    output:
        REPORTS / "figures" / "figures.json",
        [
            REPORTS / "figures" / f"{name}.{kind}"
            for name in plan.figures
            for kind in ("png", "csv")
        ],
        [reported("figures", name, "svg", "svg") for name in plan.figures],
    log:
        ROOT / "logs" / "figures.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.reporting.figures"),
        spec=spec_of("analysis"),
    message:
        "draw the figures"
    shell:
        "zsbench job figures --run {plan.run} 2>&1 | tee {log}"


SPEED_PAGE = REPORTS / "speed" / "speed.md"


rule write_report:
    input:
        ANALYSIS,
        rules.write_tables.output,
        rules.write_figures.output,
        cards=[layout.card(*cell) for cell in plan.cells],
        metrics=[layout.metrics(*cell) for cell in plan.cells],
        templates=sorted(PACKAGE.glob("reporting/templates/*")),
    output:
        report(
            REPORTS / "index.html",
            caption="../report/index.rst",
            category="Report",
            labels={"name": "whole report", "format": "html"},
        ),
        REPORTS / "REPORT.md",
    log:
        ROOT / "logs" / "report.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.reporting.pages"),
        spec=spec_of("analysis"),
        # A speed page that is there is shown. No input: an edit of a model must not measure speed anew for the report.
        speed=file_sha256(SPEED_PAGE) if SPEED_PAGE.is_file() else "",
    message:
        "write the report"
    shell:
        "zsbench job report --run {plan.run} 2>&1 | tee {log}"
