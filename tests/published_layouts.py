"""Checkpoints in the published layouts, written and scored without this project's code.

Tests compare two independent implementations: checkpoints written here load in `gliznet` and `hybridnli`, and give
the scores of the equations below. K labels, T tokens, D hidden size, P projection size.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

LAB = "[LAB]"
# Keys of config.json by era, besides those that all eras have.
ERAS: dict[str, dict[str, Any]] = {
    "D": {
        "bce_loss_weight": 0.5, "supcon_loss_weight": 0.5, "label_repulsion_weight": 0.05, "supcon_margin": 0.5,
        "losses": ["softmax", "repulsion", "bce"], "max_labels": 20,
    },
    "E": {
        "focal_loss_weight": 0.8, "focal_gamma": 1.85, "supcon_loss_weight": 1.0, "label_repulsion_weight": 0.1,
        "supcon_margin": 0.1, "losses": ["softmax", "repulsion", "focal"], "max_labels": 20,
    },
    "F": {
        "focal_loss_weight": 0.8, "focal_gamma": 1.85, "supcon_loss_weight": 1.0, "label_repulsion_weight": 0.1,
        "supcon_margin": 0.1, "losses": ["softmax", "repulsion", "focal"], "max_labels": 20, "enrich_labels": True,
    },
    "G": {
        "focal_loss_weight": 1.2, "focal_gamma": 1.85, "supcon_loss_weight": 0.8, "label_repulsion_weight": 0.4,
        "supcon_margin": 0.25, "losses": ["softmax", "repulsion", "focal", "alignment"], "max_labels": 20,
        "enrich_labels": True, "alignment_loss_weight": 0.2,
    },
}  # fmt: skip


def write_gliznet(
    folder: Path, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, era: str = "D", head: str = "bilinear"
) -> dict[str, Tensor]:
    """Write a GliZNet checkpoint of an era; returns the tensors that are not the encoder's.

    Args:
        folder: made if missing.
        encoder: without a pooler; its embeddings are resized for missing tokens.
        tokenizer: the encoder's; it gets `[LAB]`.
        era: D, E, F or G.
        head: "bilinear" or "cosine".
    """
    tokenizer.add_special_tokens({"additional_special_tokens": [LAB]})
    tokenizer.model_max_length = 512
    if len(tokenizer) > encoder.config.vocab_size:
        encoder.resize_token_embeddings(len(tokenizer))
    D = encoder.config.hidden_size
    own: dict[str, Tensor] = {}
    if head == "bilinear":
        own |= {"scoring.bilinear.weight": torch.randn(1, D, D) / D**0.5, "scoring.bilinear.bias": torch.randn(1)}
    else:
        own["scoring.logit_scale"] = torch.tensor(math.log(1 / 0.07))
    if era != "D":
        own["attn_temperature"] = torch.tensor(math.log(D) / 2 + 0.3)
    if era in ("F", "G"):
        fuse, attn = nn.Linear(2 * D, D), nn.MultiheadAttention(D, 8, batch_first=True)
        own |= {f"label_context.fuse.{name}": tensor for name, tensor in fuse.state_dict().items()}
        own |= {f"label_context.attn.{name}": tensor for name, tensor in attn.state_dict().items()}
    weights = {f"backbone.{name}": tensor for name, tensor in encoder.state_dict().items()}
    weights |= {f"aggregator.{name}": tensor for name, tensor in own.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    config = {
        "architectures": ["GliZNetForSequenceClassification"],
        "model_type": "gliznet",
        "backbone_model": "microsoft/deberta-v3-base",
        "backbone_config": encoder.config.to_dict(),
        "dropout_rate": 0.1,
        "lab_token_id": tokenizer.convert_tokens_to_ids(LAB),
        "scoring_method": head,
        "dtype": "float32",
        **ERAS[era],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tokenizer.save_pretrained(str(folder))
    return own


@torch.no_grad()
def gliznet_logits(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    own: dict[str, Tensor],
    text: str,
    labels: Sequence[str],
    cut: Callable[[list[int], list[list[int]]], tuple[list[int], list[list[int]]]] = lambda *ids: ids,
) -> np.ndarray:
    """Logits (K,) of one text, from the equations: a loop over labels, no batch, no masks. `cut` truncates it."""

    def ids(string: str) -> list[int]:
        return tokenizer.encode(string, add_special_tokens=False)

    lab = tokenizer.convert_tokens_to_ids(LAB)
    text_ids, label_ids = cut(ids(text), [ids(label) for label in labels])
    sequence = [tokenizer.cls_token_id, *text_ids, tokenizer.sep_token_id]
    end = len(sequence)  # of the text, [CLS] and [SEP] included
    places = []
    for pieces in label_ids:
        sequence += [*pieces, lab]
        places.append(len(sequence) - 1)
    H = encoder.eval()(torch.tensor([sequence])).last_hidden_state[0]  # (T, D)
    scale = H.shape[1] ** -0.5
    if "attn_temperature" in own:
        H, scale = F.normalize(H, dim=-1), own["attn_temperature"].exp()
    words, e = H[:end], H[places]  # (T', D), (K, D)
    t = torch.stack([(scale * words @ one).softmax(0) @ words for one in e])  # (K, D)
    if "label_context.fuse.weight" in own:
        part = {name.removeprefix("label_context."): tensor for name, tensor in own.items()}
        f = torch.cat([e, t], dim=-1) @ part["fuse.weight"].T + part["fuse.bias"]
        q, k, v = (
            (x @ w.T + b).unflatten(-1, (8, -1)).transpose(0, 1)  # (heads, K, D / heads)
            for x, w, b in zip(
                (e, f, f), part["attn.in_proj_weight"].chunk(3), part["attn.in_proj_bias"].chunk(3), strict=True
            )
        )
        read = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        change = read.transpose(0, 1).flatten(1) @ part["attn.out_proj.weight"].T + part["attn.out_proj.bias"]
        e = F.normalize(e + change, dim=-1)
        t = torch.stack([(scale * words @ one).softmax(0) @ words for one in e])
    if "scoring.logit_scale" in own:
        return (F.cosine_similarity(t, e, dim=-1) * own["scoring.logit_scale"].exp().clamp(max=100)).numpy()
    W, c = own["scoring.bilinear.weight"][0], own["scoring.bilinear.bias"]
    return torch.stack([one @ W @ other + c[0] for one, other in zip(t, e, strict=True)]).numpy()


def served(text: list[int], labels: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Tokens of text and labels that the published pipeline keeps, if all `[LAB]` fit into 512 tokens."""
    text, labels = text[:512], [label[:64] for label in labels]
    spare = 510 - len(text) - sum(len(label) + 1 for label in labels)
    if spare >= 0:
        return text, labels
    least = 2 * len(labels)
    for_labels = 510 - len(text) - len(labels)  # the text is truncated only if a label would get fewer than two pieces
    if for_labels >= least:
        total = sum(map(len, labels))
        return text, [label[: 2 + int((for_labels - least) * len(label) / total)] for label in labels]
    return text[: max(510 - least - len(labels), 10)], [label[:2] for label in labels]


def write_hybrid(
    path: Path,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    descriptions: dict[str, str],
    specialists: Sequence[str],
    thresholds: dict[str, float] | None = None,
    codes: int = 8,
    P: int = 16,
) -> dict[str, Any]:
    """Write `multihead_v2.pt` in the format of the notebook behind the card's table; returns its content.

    The file does not name its NLI model, labels or descriptions; without `thresholds` it has no thresholds.

    Args:
        path: of the file.
        encoder: the NLI model's encoder, without its classifier.
        tokenizer: the encoder's.
        descriptions: of the labels that have a head.
        specialists: labels with a head, in the order of the heads.
        thresholds: of all labels.
        codes: number of codes of a head.
        P: projection size of a head.
    """
    D = encoder.config.hidden_size

    def projection() -> dict[str, Tensor]:
        linear, norm = nn.Linear(D, P), nn.LayerNorm(P)
        return {"0.weight": linear.weight, "0.bias": linear.bias, "2.weight": norm.weight, "2.bias": norm.bias}

    def head() -> dict[str, Tensor]:
        parts = {"codes.weight": 0.02 * torch.randn(codes, D), "log_temp": torch.tensor(0.2)}
        for name in ("ctx_proj", "label_proj"):
            parts |= {f"{name}.{key}": tensor.detach().clone() for key, tensor in projection().items()}
        return parts

    with torch.no_grad():
        embeddings = {
            name: encoder.eval()(
                **tokenizer(descriptions[name], truncation=True, max_length=64, return_tensors="pt")
            ).last_hidden_state[0].float().mean(0)
            for name in specialists
        }  # fmt: skip
    content: dict[str, Any] = {
        "poly_heads_state": {name: head() for name in specialists},
        "alpha_raws": {name: 0.1 * (i + 1) for i, name in enumerate(specialists)},
        "label_embs": embeddings,
        "specialist_labels": list(specialists),
        "cv_thresholds": {name: np.float64(0.4) for name in descriptions},
        "cv_stds": {name: np.float64(0.01) for name in descriptions},
        "num_codes": codes,
        "proj_dim": P,
        "hidden_dim": D,
        "best_macro_f1": np.float64(0.7042),
        "cv_macro_f1": np.float64(0.8939),
        "alpha_history": {name: [0.5, 0.49] for name in specialists},
    }
    if thresholds is not None:
        content["val_thresholds"] = {name: np.float64(value) for name, value in thresholds.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return content


@torch.no_grad()
def hybrid_score(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    content: dict[str, Any],
    label: str,
    text: str,
    nli: float,
) -> float:
    """Score of one text and one label with a head, from the equations."""

    def project(name: str, x: Tensor) -> Tensor:
        y = F.gelu(x @ head[f"{name}.0.weight"].T + head[f"{name}.0.bias"])
        return F.normalize(F.layer_norm(y, y.shape[-1:], head[f"{name}.2.weight"], head[f"{name}.2.bias"]), dim=-1)

    head, alpha = content["poly_heads_state"][label], 1 / (1 + math.exp(-content["alpha_raws"][label]))
    inputs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
    H = encoder.eval()(**inputs).last_hidden_state[0].float()  # (T, D)
    contexts = project("ctx_proj", (head["codes.weight"] @ H.T).softmax(-1) @ H)  # (codes, P)
    u = project("label_proj", content["label_embs"][label])
    weights = (contexts @ u).softmax(0)
    logit = (weights @ contexts) @ u * head["log_temp"].exp()
    return alpha * nli + (1 - alpha) * float(logit.sigmoid())
