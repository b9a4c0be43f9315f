"""`reports/index.html`: all runs with a report, and the numbers of any two of them side by side."""

from pathlib import Path
from typing import Any

from zsbench.reporting.frames import RunData
from zsbench.reporting.header import header
from zsbench.reporting.render import embedded_json, environment
from zsbench.reporting.summary import sentences
from zsbench.store.provenance import read_json, write_json, write_text

SUMMARY = "summary.json"  # one per run, read by the index


def write_summary(run: RunData, out: Path) -> None:
    """Write the part of a run that the index shows: header card, first sentence, headline metric of every cell."""
    card, suites = header(run), {}
    for suite in run.spec["suites"]:
        means = run.suite_means(suite)
        values = {
            system: {dataset: round(float(value), 6) for dataset, value in row.items() if value == value}
            for system, row in means.to_dict("index").items()
        }
        suites[suite] = {"metric": run.metric_name(suite), "titles": run.titles, "values": values}
    facts = {"run": run.spec["run"], "banner": card.banner, "facts": card.facts, "answer": sentences(run)[:1]}
    write_json(out / SUMMARY, facts | {"suites": suites, "volatile": ["facts"]})


def write_index(reports: Path) -> None:
    """Write `index.html` over all runs below `reports` that have a page."""
    paths = sorted(reports.glob(f"*/{SUMMARY}"))
    runs: dict[str, Any] = {
        path.parent.name: read_json(path) for path in paths if path.with_name("index.html").is_file()
    }
    names = list(dict.fromkeys(name for run in runs.values() for name in run["facts"]))
    held = embedded_json({name: run["suites"] for name, run in runs.items()})
    page = environment(True).get_template("index.html")
    write_text(reports / "index.html", page.render(run="Reports", runs=runs, names=names, held=held))
