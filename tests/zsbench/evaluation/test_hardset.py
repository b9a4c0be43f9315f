"""Means per bundle."""

import numpy as np

from zsbench.evaluation.hardset import bundle_means


def test_bundles_weigh_the_same_whatever_their_size() -> None:
    assert bundle_means(np.array([1.0, 0.0, 0.5]), ["b1", "b1", "b2"]).tolist() == [0.5, 0.5]
