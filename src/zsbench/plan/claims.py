"""Claims and the rules that judge them: the allowed keys of a `claims` entry, and how it refers to systems.

Claims are data (`workflow/resources/claims.yaml` and the `claims` of a config). A rule defines what is measured and
when a claim is supported; it is implemented by the function of the same name in `evaluation.claims`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zsbench.plan.suites import METRICS

Spec = dict[str, Any]  # the analysis spec
SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNDECIDED, NOT_TESTABLE = "undecided at this power", "not testable in this run"


@dataclass(frozen=True)
class Rule:
    """A rule by which claims are judged.

    Attributes:
        tests: short description of the rule, for the table.
        sides: number of systems that a claim names.
        needs: further required keys.
        takes: optional keys.
    """

    tests: str
    sides: int = 1
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


RULES = {
    "better": Rule("first system minus second, paired; effect, no effect or undecided", 2, takes=("metric", "suite")),
    "confusable": Rule("like better, for accuracy between labels that are similar for the untrained encoder", 2),
    "constant": Rule("slope over the number of labels is 0", 1, needs=("metric",)),
    "one_pass": Rule("encoder sequences per text, at every number of labels"),
    "miscalibrated": Rule("ECE against the 95th percentile for a calibrated system on as many rows", takes=("suite",)),
    "setting": Rule("value of a setting in the loaded model configuration", 1, needs=("setting", "value")),
    "reads": Rule(
        "token limit of the model; accuracy on the longer half of the texts minus the shorter half", 1, ("value",)
    ),
    "order": Rule("answers that change with the label order, against scoring the same order again"),
    "attribution": Rule("share of the gain over the NLI model due to fitted thresholds, below one half"),
    "blend": Rule("learned blend minus the best blend on validation rows, evaluated on test rows"),
    "trained_share": Rule("number of trained over frozen parameters", 1, needs=("value",), takes=("made_of",)),
    "published_delta": Rule(
        "published difference against the sampling noise of its test sets", 0, ("publication", "rows")
    ),
}
# Kinds that a claim can name instead of a system id; a kind means the first such system in the run.
KINDS = {
    "joint": "a GliZNet whose labels see each other",
    "order-invariant": "a GliZNet whose labels see the text but not each other",
    "labels-apart": "a GliZNet whose labels see only themselves",
    "hybrid": "a HybridNLI with learned blend",
    "gliclass": "a GLiClass",
    "nli": "an NLI cross-encoder",
    "biencoder": "a bi-encoder",
    "reference": "the system named by `statistics.system`",
}
COUNTED = {  # metrics of rule `constant`: quantity measured against the number of labels -> description
    "tokens": "encoder tokens per text, per additional label",
    "accuracy": "accuracy, per tenfold number of labels",
}
CLAIM_METRICS = (*METRICS, *COUNTED)


def kind_of(spec: Spec, system: Spec) -> str:
    """The kind of a system in `KINDS`; "" if it has none (controls, custom systems)."""
    family = system["family"]
    if family == "hybridnli":
        return "hybrid" if system["settings"].get("blend", "learned") == "learned" else ""
    if family != "gliznet":
        return family if family in KINDS else ""
    gliznet = spec.get("gliznet", {})
    changes = gliznet.get("variants", {}).get(system["id"].removeprefix("gliznet-"), {})
    options = gliznet.get("base", {}) | changes if system["trained"] else {}
    if not options.get("order_invariant"):
        return "joint"
    return "labels-apart" if options.get("label_context") == "none" else "order-invariant"


def named(spec: Spec, name: str) -> Spec | None:
    """The system that a claim refers to, by id or as the first of its kind; None if the run has none."""
    name = spec["statistics"]["system"] if name == "reference" else name
    by_id = {system["id"]: system for system in spec["systems"]}
    return by_id.get(name) or next((one for one in spec["systems"] if kind_of(spec, one) == name), None)


def compared(spec: Spec, suite: str) -> Iterator[tuple[str, str]]:
    """(system, baseline) of all claims with rule `better` that this suite decides, so that `compare` tests them.

    Claims about a metric other than the headline metric are tested separately, by the claims job.
    """
    for claim in spec.get("claims", {}).values():
        if claim["rule"] != "better" or suite != suite_of(spec, claim):
            continue
        if claim.get("metric") in (None, spec["suites"][suite]["metric"]):
            first, second = (named(spec, name) for name in claim["systems"])
            if first is not None and second is not None and first["id"] != second["id"]:
                yield first["id"], second["id"]


def suite_of(spec: Spec, claim: Spec) -> str | None:
    """The suite that decides a claim: the one it names, or the first suite with all its systems and its metric."""
    sides = [named(spec, name) for name in claim.get("systems") or ()]
    if any(side is None for side in sides):
        return None
    metric = claim.get("metric") if claim.get("metric") in METRICS else None
    for suite, entry in spec["suites"].items():
        fits = metric is None or entry["task"] in METRICS[metric].tasks
        if fits and claim.get("suite") in (None, suite) and all(suite in side["suites"] for side in sides if side):
            return suite
    return None
