"""A sample represents the set: labels in proportion, and rows of each label from all over the file."""

import numpy as np
import pytest

from zsbench.data.prepare import stratified_sample

BY_CLASS = [[0]] * 600 + [[1]] * 300 + [[2]] * 97 + [[0, 2]] * 3  # a file sorted by class


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_keep_their_proportions_and_none_is_lost(seed: int) -> None:
    picked = stratified_sample(BY_CLASS, 100, seed)
    counts = [sum(BY_CLASS[i] == gold for i in picked) for gold in ([0], [1], [2], [0, 2])]
    assert len(set(picked.tolist())) == 100
    np.testing.assert_allclose(counts, [60, 30, 9.7, 0.3], atol=1)
    assert min(counts) == 1


def test_rows_of_a_label_come_from_anywhere_and_another_seed_takes_others() -> None:
    """Not the first ones: within a label, files are often sorted by date, product or length."""
    picked = np.array([stratified_sample(BY_CLASS, 100, seed) for seed in range(20)])  # (seeds, 100)
    of_first = picked[picked < 600]
    assert of_first.mean() == pytest.approx(299.5, abs=4 * 173 / np.sqrt(len(of_first)))
    assert len(np.unique(picked, axis=0)) == 20
    np.testing.assert_array_equal(picked[3], stratified_sample(BY_CLASS, 100, 3))
