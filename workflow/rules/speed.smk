"""How fast everything is: `snakemake speed`. No part of `all`: it takes the whole machine, and measures it."""

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
        threads: workflow.cores  # nothing else may run beside it
        resources:
            gpu=1,
        params:
            run=plan.run,
            code=code_digest("benchmarks.run"),
            spec=spec_of("speed"),
        message:
            "measure speed"
        shell:
            "zsbench launch -- -m benchmarks run --run {params.run} 2>&1 | tee {log}"

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
                name=["targets", "mixed", "latency", "sweep", "gate"],
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
            out=folder_of_outputs,
        message:
            "write the speed page"
        shell:
            "python -m benchmarks page {input.record} --out {params.out} 2>&1 | tee {log}"

    rule speed:
        input:
            REPORTS / "speed" / "speed.md",
