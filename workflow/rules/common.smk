"""What every rules file uses: the checked plan, paths, and the source modules that rules declare as inputs."""

from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from zsbench.config import ConfigError, check_references, check_schema, load_resources, load_yaml
from zsbench.plan import Plan
from zsbench.provenance import canonical_json
from zsbench.source_graph import sources
from zsbench.systems import FAMILIES

WORKFLOW = Path(workflow.basedir) / "workflow"


def checked_plan():
    """The plan of this run; a config that cannot be run ends here, with one readable message."""
    try:
        check_schema(config, load_yaml(WORKFLOW / "schemas" / "config.schema.yaml"))
        validate(config, str(WORKFLOW / "schemas" / "config.schema.yaml"))  # fills in the defaults
        resources = load_resources(WORKFLOW / "resources")
        for key in resources:
            resources[key] = resources[key] | config.get(key, {})
        check_references(config, resources)
    except ConfigError as error:
        raise WorkflowError(str(error))
    return Plan(config, resources)


plan = checked_plan()
layout = plan.layout
ROOT = layout.root
REPORTS = Path("reports") / plan.run
LAUNCH = f"zsbench launch --configs {WORKFLOW / 'accelerate'}"  # leases GPUs; `--resources gpu=N` is only a request


def code(*modules):
    """Files of the named modules and of all they import: Snakemake does not see imports, so rules declare them."""
    return [str(path.relative_to(workflow.basedir)) for path in sources(*modules)]


def spec_of(function, *wildcard_names):
    """A params function: the named wildcards' spec as canonical JSON, so that a job reruns exactly when its spec changes."""

    def spec(wildcards):
        return canonical_json(function(*(getattr(wildcards, name) for name in wildcard_names)))

    return spec


wildcard_constraints:
    source="|".join(plan.sources),
    dataset="|".join(plan.all_datasets),
    training_set="|".join(plan.training_sets) or "none",
    model="|".join(plan.trained) or "none",
    hybrid="|".join(plan.config["hybrid"]) or "none",
    suite="|".join(plan.config["suites"]),
    system="|".join(plan.systems),
    seed=r"\d+",
