"""Average precision per text and means per bundle."""

import numpy as np
import pytest

from zsbench.evaluation.hardset import average_precisions, bundle_means


def test_average_precision_by_hand() -> None:
    """Ranks 1 and 3 of three labels give (1/1 + 2/3) / 2."""
    scores, targets = [np.array([0.9, 0.5, 0.1]), np.array([0.2, 0.8])], [np.array([1, 0, 1]), np.array([1, 0])]
    found = average_precisions(scores, targets)
    assert found == pytest.approx([(1 + 2 / 3) / 2, 0.5])


def test_tied_labels_gain_nothing_from_their_order() -> None:
    """A constant score gives the share of true labels, regardless of their positions."""
    targets = [np.array([1, 0, 0, 0]), np.array([0, 0, 0, 1])]
    assert average_precisions([np.zeros(4)] * 2, targets).tolist() == [0.25, 0.25]


def test_bundles_weigh_the_same_whatever_their_size() -> None:
    assert bundle_means(np.array([1.0, 0.0, 0.5]), ["b1", "b1", "b2"]).tolist() == [0.5, 0.5]
