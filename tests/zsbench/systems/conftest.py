"""A small run on disk for the tests of systems and cells."""

import pytest
import torch
from tiny_run import bert_config, finish_source, make_run, make_tokenizer, score_spec, source_folder
from transformers import BertForSequenceClassification

from zsbench.store.layout import Layout


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormals_as_before():
    """Restore denormals, which scoring flushes for the whole process; other tests need them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Layout:
    """A shared run; tests may add cells, caches and models, but must not change datasets and models."""
    return make_run(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def make_spec():
    return score_spec


@pytest.fixture(scope="session")
def gliclass(run):
    """Sources `gliclass-first`, `gliclass-avg`, `gliclass-last`: uni-encoders in the package's format."""
    from gliclass import GLiClassModel, GLiClassModelConfig

    variants = {
        "gliclass-first": {"pooling_strategy": "first", "prompt_first": True},
        "gliclass-avg": {"pooling_strategy": "avg", "prompt_first": True},
        "gliclass-last": {"pooling_strategy": "first", "prompt_first": False, "class_token_pooling": "average"},
    }
    for name, options in variants.items():
        tokenizer = make_tokenizer()
        tokenizer.model_max_length = 10**9
        tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>"], special_tokens=True)
        torch.manual_seed(3)
        config = GLiClassModelConfig(
            encoder_config=bert_config(vocab_size=len(tokenizer)).to_dict(),
            encoder_model=name,
            class_token_index=tokenizer.convert_tokens_to_ids("<<LABEL>>"),
            text_token_index=tokenizer.convert_tokens_to_ids("<<SEP>>"),
            vocab_size=len(tokenizer),
            hidden_size=32,
            scorer_mlp_hidden_size=16,
            initializer_range=0.3,
            problem_type="multi_label_classification",
            **options,
        )
        folder = source_folder(run, name)
        GLiClassModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        finish_source(run, name)
    return run


@pytest.fixture(scope="session")
def reranker(run):
    torch.manual_seed(5)
    folder = source_folder(run, "tiny-reranker")
    BertForSequenceClassification(bert_config(num_labels=1)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    finish_source(run, "tiny-reranker")
    return run
