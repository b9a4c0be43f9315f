"""Tables, figures and pages: pure functions of the analysis frames."""

ANALYSIS = [*rules.compare.output, *rules.claims.output]


rule write_tables:
    input:
        frames=ANALYSIS,
        cells=CELLS,
        models=TRAININGS,
        overlap=rules.overlap.output,
        cards=[layout.dataset_card(dataset) for dataset in plan.all_datasets],
        published=WORKFLOW / "resources" / "published.yaml",
    output:
        tables=[
            REPORTS / "tables" / f"{name}.{kind}"
            for name in plan.tables
            for kind in ("json", "md", "tex")
        ],
        data=[
            reported("tables", name, item, "csv") for name, item in plan.tables.items()
        ],
    log:
        ROOT / "logs" / "tables.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.reporting.tables"),
        spec=spec_of("analysis"),
    message:
        "write the tables"
    shell:
        "zsbench job tables --run {params.run} > {log} 2>&1"


rule write_figures:
    input:
        frames=ANALYSIS,
        cells=CELLS,
        models=TRAININGS,
    output:
        index=REPORTS / "figures" / "figures.json",
        data=[
            REPORTS / "figures" / f"{name}.{kind}"
            for name in plan.figures
            for kind in ("png", "csv")
        ],
        figures=[
            reported("figures", name, item, "svg")
            for name, item in plan.figures.items()
        ],
    log:
        ROOT / "logs" / "figures.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.reporting.figures"),
        spec=spec_of("analysis"),
    message:
        "draw the figures"
    shell:
        "zsbench job figures --run {params.run} > {log} 2>&1"


SPEED_PAGE = REPORTS / "speed" / "speed.md"


rule write_report:
    input:
        frames=ANALYSIS,
        tables=rules.write_tables.output,
        figures=rules.write_figures.output,
        cells=CELLS,
        rows=[layout.dataset(dataset) for dataset in plan.all_datasets],
        templates=sorted(PACKAGE.glob("reporting/templates/*")),
    output:
        page=report(
            REPORTS / "index.html",
            caption="../report/index.rst",
            category="Report",
            labels={"name": "whole report", "format": "html"},
        ),
        text=REPORTS / "REPORT.md",
        summary=REPORTS / "summary.json",
    log:
        ROOT / "logs" / "report.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.reporting.page"),
        spec=spec_of("analysis"),
        # An existing speed page is included. It is not an input, since an edit of a model must not rerun the speed
        # study.
        speed=file_sha256(SPEED_PAGE) if SPEED_PAGE.is_file() else "",
    message:
        "write the report"
    shell:
        "zsbench job report --run {params.run} > {log} 2>&1"
