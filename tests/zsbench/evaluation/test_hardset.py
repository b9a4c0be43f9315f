"""Average precision by text and means by bundle."""

import numpy as np
import pytest

from zsbench.evaluation.hardset import average_precisions, bundle_means


def test_average_precision_by_hand() -> None:
    """True labels come first: ranks 1 and 3 of three labels give (1/1 + 2/3) / 2."""
    found = average_precisions([np.array([0.9, 0.1, 0.5]), np.array([0.2, 0.8])], [2, 1])
    assert found == pytest.approx([(1 + 2 / 3) / 2, 0.5])


def test_bundles_weigh_the_same_whatever_their_size() -> None:
    assert bundle_means(np.array([1.0, 0.0, 0.5]), ["b1", "b1", "b2"]).tolist() == [0.5, 0.5]
