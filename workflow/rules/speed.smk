"""Speed benchmark: `snakemake speed`. Not part of `all`, because it needs the whole machine."""

# The folder of the package `benchmarks`, which is not installed.
BENCHMARKS = WORKFLOW.parent

if plan.speed_spec:

    rule measure_speed:
        input:
            backbone=layout.fetched(plan.speed_spec["backbone"]),
        output:
            record=layout.speed,
        log:
            ROOT / "logs" / "speed.log",
        conda:
            "../envs/zsbench.yaml"
        threads: lambda wildcards: workflow.cores  # nothing else may run at the same time
        resources:
            gpu=1,
        params:
            run=plan.run,
            code=code_digest("benchmarks.run"),
            path=BENCHMARKS,
            spec=spec_of("speed"),
        message:
            "measure speed"
        shell:
            "PYTHONPATH={params.path}${{PYTHONPATH:+:$PYTHONPATH}} zsbench launch -- -m benchmarks run --run {params.run} > {log} 2>&1"

    rule write_speed_page:
        input:
            record=layout.speed,
        output:
            page=report(
                REPORTS / "speed" / "speed.md",
                caption="../report/speed.rst",
                category="Speed",
                labels={"name": "speed", "format": "md"},
            ),
            data=expand(
                REPORTS / "speed" / "{name}.csv",
                name=["targets", "mixed", "sweep", "gate"],
            ),
            targets=REPORTS / "speed" / "targets.md",
            figure=report(
                REPORTS / "speed" / "throughput_labels.svg",
                caption="../report/throughput_labels.rst",
                category="Speed",
                labels={"name": "throughput against labels", "format": "svg"},
            ),
        log:
            ROOT / "logs" / "speed-page.log",
        conda:
            "../envs/zsbench.yaml"
        params:
            code=code_digest("benchmarks.page"),
            path=BENCHMARKS,
            out=REPORTS / "speed",
        message:
            "write the speed page"
        shell:
            "PYTHONPATH={params.path}${{PYTHONPATH:+:$PYTHONPATH}} python -m benchmarks page {input.record} --out {params.out} > {log} 2>&1"

    rule speed:
        input:
            REPORTS / "speed" / "speed.md",
