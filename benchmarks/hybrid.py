"""The two speed-ups of HybridNLI: the NLI pass in sorted batches, and heads trained on stored features.

Shapes: n texts, L labels, S labels with a head, B batch.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import nli_models, zero_shot_pipeline
from benchmarks.setting import Setting
from benchmarks.timing import interleave
from hybridnli.data import TOPICS
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.features import FeatureStore, build_store
from hybridnli.losses import blend_loss, kl_loss, poly_loss
from hybridnli.model import HybridNLIPolyEncoder
from hybridnli.training import HybridOptions, train_heads
from zsbench.data.authored_sets import TOPICS as TOPIC_TEXTS
from zsbench.data.authored_sets import read_authored

Rounds = dict[str, list[dict[str, float]]]
MAX_TOKENS = 128  # per text, as published
PIPELINE_BATCH = 8
CLOSE = 1e-4  # tolerance between two implementations in float32


@dataclass(frozen=True)
class TopicRows:
    """Texts and gold (n, L)."""

    texts: list[str]
    gold: np.ndarray

    @classmethod
    def read(cls, rows: int) -> "TopicRows":
        """The first rows of topics-mini.

        Raises:
            ValueError: more rows than the set has.
        """
        known = read_authored(TOPIC_TEXTS)
        if rows > len(known):
            raise ValueError(f"rows={rows} is not allowed; topics-mini has {len(known)}")
        part = known[:rows]
        gold = [[float(name in row["labels"]) for name in TOPICS.names] for row in part]
        return cls([row["text"] for row in part], np.array(gold, dtype=np.float32))


def measure_nli(setting: Setting, rows: int, repeats: int) -> Rounds:
    """Rounds of scoring `rows` topic texts with five descriptions: "store" (as for the feature store), "pipeline-8".

    Raises:
        ValueError: the two give different scores.
    """
    data = TopicRows.read(rows)
    encoder, plain = nli_models(setting)
    pipe, labels = zero_shot_pipeline(plain, encoder.tokenizer, setting), list(TOPICS.descriptions.values())

    def store() -> np.ndarray:
        return nli_scores(encoder, data.texts, encoder.hypotheses(labels))

    def piped() -> np.ndarray:
        return pipe(data.texts, labels, PIPELINE_BATCH)

    _check("NLI scores", store(), piped(), setting)
    return interleave({"store": store, f"pipeline-{PIPELINE_BATCH}": piped}, repeats)


def measure_heads(setting: Setting, rows: int, epochs: int, repeats: int) -> Rounds:
    """Rounds of training the heads for `epochs` full epochs: "store" and "reencoding".

    The time of "store" includes one encoder pass over all texts, and a validation per epoch. "reencoding" encodes every
    batch in every epoch and runs each head row by row, like the published script, but without encoder dropout; its time
    includes no validation. NLI scores are given to both.
    """
    known = len(read_authored(TOPIC_TEXTS))
    data = TopicRows.read(min(rows + max(1, rows // 4), known))
    encoder, _ = nli_models(setting)
    options = HybridOptions(specialists=TOPICS.specialists, epochs=epochs, patience=epochs)
    with TemporaryDirectory() as folder:
        store = _build(encoder, data, Path(folder))
        _check_heads(encoder, store, data, options, setting)
        nli = store.nli.copy()

        def stored() -> None:
            for part in ("tokens", "descriptions"):  # recomputed by the timed call; NLI scores are kept
                for path in Path(folder).glob(f"*/{part}-*"):
                    path.unlink()
            fresh = _build(encoder, data, Path(folder))
            train_heads(
                fresh,
                data.gold,
                range(rows),
                range(rows, len(data.texts)),
                options=options,
                seed=setting.seed,
                device=setting.device,
            )

        def reencoding() -> None:
            _train_reencoding(encoder, data, nli, rows, options, setting)

        # No warm-up: a run has many epochs, and the check has already warmed up the encoder.
        return interleave({"store": stored, "reencoding": reencoding}, repeats, warm_up=False)


def _build(encoder: NLIEncoder, data: TopicRows, folder: Path) -> FeatureStore:
    return build_store(encoder, data.texts, TOPICS.descriptions, folder, max_length=MAX_TOKENS, dtype="float32")


def _model(encoder: NLIEncoder, options: HybridOptions, setting: Setting) -> HybridNLIPolyEncoder:
    torch.manual_seed(setting.seed)
    model = HybridNLIPolyEncoder(TOPICS, encoder.hidden_dim, options.num_codes, options.proj_dim).to(setting.device)
    model.set_label_embeddings(encoder.describe(list(TOPICS.descriptions.values())).cpu())
    return model


def _row_by_row(model: HybridNLIPolyEncoder, H: Tensor, mask: Tensor) -> Tensor:
    """Head logits (B, S), one head and one row at a time."""
    columns = []
    for head, name in zip(model.poly_heads, model.labels.specialists, strict=True):
        label = model._label_embs[name].to(H.device)
        columns.append(torch.cat([head(H[i : i + 1], mask[i : i + 1], label) for i in range(len(H))]))
    return torch.stack(columns, dim=1)


def _train_reencoding(
    encoder: NLIEncoder, data: TopicRows, nli: np.ndarray, rows: int, options: HybridOptions, setting: Setting
) -> None:
    model = _model(encoder, options, setting)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    shuffle = np.random.default_rng(setting.seed)
    for _ in range(options.epochs):
        order = shuffle.permutation(rows)
        for batch in (order[at : at + options.batch] for at in range(0, rows, options.batch)):
            H, mask = encoder.embed_ids(encoder.tokenize([data.texts[i] for i in batch]), MAX_TOKENS)
            target = torch.from_numpy(data.gold[batch]).to(setting.device)[:, model.columns]
            scores = torch.from_numpy(nli[batch]).to(setting.device)
            logits = _row_by_row(model, H.clone(), mask.clone())  # clone to leave inference mode
            loss = poly_loss(logits, target)
            loss = loss + options.blend_weight * blend_loss(model.blend(logits, scores)[:, model.columns], target)
            loss = loss + options.kl_weight * kl_loss(logits, scores[:, model.columns], options.confidence)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()


def _check_heads(
    encoder: NLIEncoder, store: FeatureStore, data: TopicRows, options: HybridOptions, setting: Setting
) -> None:
    """Check that both ways start from the same logits."""
    model, first = _model(encoder, options, setting), range(8)
    H, mask = encoder.embed_ids(encoder.tokenize([data.texts[i] for i in first]), MAX_TOKENS)
    with torch.no_grad():
        a = model.logits(*store.token_embeddings(list(first), setting.device)).cpu().numpy()
        b = _row_by_row(model, H, mask).cpu().numpy()
    _check("head logits", a, b, setting)


def _check(what: str, a: np.ndarray, b: np.ndarray, setting: Setting) -> None:
    allowed = CLOSE if setting.precision == "fp32" else 0.05
    difference = float(np.abs(a - b).max())
    if not difference <= allowed:
        raise ValueError(f"{what}: two ways of one computation differ by {difference} (allowed: {allowed})")
