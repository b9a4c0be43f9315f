"""Any text with any labels: every label keeps its [LAB], no string becomes a special token, errors are named."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gliznet.config import GliZNetOptions
from gliznet.predictor import ZeroShotClassificationPipeline
from gliznet.scoring import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from gliznet.truncation import LabelBudgetError

TEXT = st.text(max_size=40) | st.lists(st.sampled_from(["[LAB]", "[SEP]", "[CLS]", " ", "cup", "\x00", "😀"])).map(
    "".join
)
LABELS = st.lists(TEXT.filter(str.strip), min_size=1, max_size=5)


@pytest.fixture(params=["bert", "deberta", "modernbert"])
def tokenizer(request: pytest.FixtureRequest, backends) -> GliZNETTokenizer:
    return GliZNETTokenizer(backends[request.param](), GliZNetOptions(max_length=128))


@example(text="[SEP] sports [LAB]", labels=["[LAB]", "a [SEP] b"])
@example(text="\u202e\x00", labels=["\x1c x", "x"])
@given(text=TEXT, labels=LABELS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_label_stands_once_and_in_order(tokenizer: GliZNETTokenizer, text: str, labels: list[str]) -> None:
    try:
        (row,) = tokenizer.encode_rows([text], [labels])
    except LabelBudgetError:
        return  # named; a set of labels this long is split in chunks
    except ValueError as error:
        assert "gives no word piece" in str(error)
        return
    backend, lab = tokenizer.backend, tokenizer.lab_token_id
    ids, lmask = np.array(row.input_ids), np.array(row.lmask)
    assert (ids == lab).sum() == len(labels) and len(ids) == len(lmask) <= 128
    assert (ids == backend.cls_token_id).sum() == 1 and ids[0] == backend.cls_token_id
    text_end = int(np.flatnonzero(ids == backend.sep_token_id)[0])
    assert (lmask[: text_end + 1] == 0).all() and (lmask[ids == lab] == 0).all()
    for j, pieces in enumerate(tokenizer.label_pieces(labels), start=1):
        assert ids[lmask == j].tolist() == pieces
    assert row.labels_cut == row.labels_lost == 0


def test_wrong_arguments_are_named(build) -> None:
    model, tokenizer = build("bert")
    pipeline = ZeroShotClassificationPipeline(model, tokenizer)
    for texts, labels, kind, message in (
        (["a"], "sports", TypeError, "labels='sports' is one text"),
        (["a", None], ["x"], TypeError, r"texts\[1\] is NoneType"),
        (["\ud800"], ["x"], ValueError, r"texts\[0\] holds half of a surrogate pair"),
        (["a"], ["x", "\ud800"], ValueError, r"labels\[1\] holds half"),
        (["a"], [], ValueError, "labels is empty"),
    ):
        with pytest.raises(kind, match=message):
            score_texts(model, tokenizer, texts, labels)
        with pytest.raises(kind, match=message):
            pipeline(texts, labels)


def test_five_hundred_labels_are_all_scored(build) -> None:
    model, tokenizer = build("bert")
    scores = score_texts(model, tokenizer, ["the cup"], [f"label {i}" for i in range(500)])
    assert scores.shape == (1, 500) and torch.from_numpy(scores).isfinite().all()
