"""Texts and labels for the GliZNet tests; models come from `tests.factories`."""

import pytest
import torch

from tests.factories import CORPUS

torch.set_num_threads(1)


@pytest.fixture
def texts() -> list[str]:
    """Texts of widely different lengths."""
    return ["cup", CORPUS[0], " ".join(CORPUS[:3]), CORPUS[3]]


@pytest.fixture
def labels() -> list[str]:
    """Five labels of one to four words."""
    return ["sports", "very positive", "politics misc", "comp sys mac hardware", "science"]
