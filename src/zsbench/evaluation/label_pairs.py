"""Pairs of labels of a data set that are similar for the untrained encoder. L labels, D dimensions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json


def label_cosines(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/label_pairs.json`: for each data set, the pairs of labels whose cosine is above the limit.

    Args:
        spec: `Plan.label_pairs_spec`: `encoder` (a source), `cosine`, `datasets` (id -> labels).
    """
    from zsbench.data.fetched import open_fetched

    layout = Layout(Path(root))
    embed = sentence_encoder(open_fetched(layout.fetched(spec["encoder"]))[0])
    pairs = {}
    for dataset, labels in spec["datasets"].items():
        E = embed(labels)
        pairs[dataset] = alike(E @ E.T, spec["cosine"])
    write_json(layout.label_pairs, {"encoder": spec["encoder"], "cosine": spec["cosine"], "pairs": pairs})


def alike(cosines: np.ndarray, limit: float) -> list[list[int]]:
    """Index pairs [a, b], a < b, of labels whose cosine is above the limit; `cosines` is (L, L)."""
    return [[a, b] for a in range(len(cosines)) for b in range(a + 1, len(cosines)) if cosines[a, b] > limit]


def sentence_encoder(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """The untrained encoder in a folder, on the CPU: texts -> L2-normalised embeddings (n, D)."""
    from sentence_transformers import SentenceTransformer

    from gliznet.checkpoint_files import check_files

    check_files(folder)
    safe: dict[str, Any] = {"use_safetensors": True}
    model = SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs=safe
    )
    return lambda texts: np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))
