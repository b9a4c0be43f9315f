"""Label sets that are too large for systems trained in a run, determined from tokenizers and limits before training.

Such a system is still trained and scored on other data sets; its cell for this data set is "not applicable".
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zsbench.data.fetched import open_fetched
from zsbench.store.layout import Layout
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import write_json

Takes = Callable[[list[str]], str]  # labels -> why the system cannot handle them; "" if it can


def check_label_sets(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/label_sets.json` and log each refusal.

    Args:
        root: `results/<run>`, backbones fetched.
        spec: `Plan.label_sets_spec`.
    """
    layout, say = Layout(Path(root)), progress_logger("label sets")
    refused = list(refusals(layout, spec))
    for system, dataset, reason in refused:
        say(f"{system} cannot handle the labels of {dataset}; this cell will be not applicable: {reason}")
    entries = [{"system": system, "dataset": dataset, "reason": reason} for system, dataset, reason in refused]
    write_json(layout.root / "analysis" / "label_sets.json", {"refused": entries})


def refusals(layout: Layout, spec: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(system, dataset, reason) of each refusal; systems whose backbone has not been fetched yet are skipped."""
    for system, model in spec["models"].items():
        if "backbone" in model and not layout.fetched(model["backbone"]).is_file():
            continue
        takes = CHECKS[model["family"]](layout, model)
        for suite in model["suites"]:
            for dataset, labels in spec["datasets"].get(suite, {}).items():
                if reason := takes(labels):
                    yield system, dataset, reason


def _gliznet(layout: Layout, model: dict[str, Any]) -> Takes:
    from gliznet.options import GliZNetOptions
    from gliznet.tokenizer import GliZNETTokenizer
    from gliznet.truncation import LabelBudgetError

    folder, _ = open_fetched(layout.fetched(model["backbone"]))
    tokenizer = GliZNETTokenizer.from_pretrained(folder, GliZNetOptions(**model["options"]))

    def takes(labels: Sequence[str]) -> str:
        try:
            tokenizer.plan_chunks(labels)
        except LabelBudgetError as error:
            return str(error)
        return ""

    return takes


def _gliclass(layout: Layout, model: dict[str, Any]) -> Takes:
    from transformers import AutoTokenizer

    from zsbench.systems.gliclass import LIMIT, MARKERS, label_chunks, lost_labels
    from zsbench.systems.texts import EscapeSpecialTokens

    folder, _ = open_fetched(layout.fetched(model["backbone"]))
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.add_tokens(list(MARKERS), special_tokens=True)
    limit, escape = min(LIMIT, model["options"]["max_length"]), EscapeSpecialTokens(tokenizer, MARKERS)

    def takes(labels: Sequence[str]) -> str:
        names = escape(labels)
        chunks = [names[chunk] for chunk in label_chunks(tokenizer, limit, names)]
        lost = [(lost_labels(tokenizer, limit, chunk), len(chunk)) for chunk in chunks]
        most, size = max(lost)
        return f"{most} of {size} labels do not fit into the {limit} tokens of a sequence" if most else ""

    return takes


def _hybrid(layout: Layout, model: dict[str, Any]) -> Takes:
    return lambda labels: "" if labels == model["labels"] else "its heads are trained for other labels"


CHECKS: dict[str, Callable[[Layout, dict[str, Any]], Takes]] = {
    "gliznet": _gliznet,
    "gliclass": _gliclass,
    "hybridnli": _hybrid,
}
