"""Length of a training, and how often it validates."""

from dataclasses import replace

import pytest

from zsbench.recipe import Recipe, with_overrides

from .training.conftest import RECIPE

STEPS = Recipe(**RECIPE)
EPOCHS = replace(STEPS, steps=None, epochs=10, evaluate_every="epoch", effective_batch=128)


def test_epochs_are_whole_passes_without_the_rows_that_are_left() -> None:
    """The card's 54,289 rows: 424 steps per epoch, 17 rows dropped."""
    assert EPOCHS.steps_per_epoch(54_289) == EPOCHS.validation_interval(54_289) == 424
    assert EPOCHS.total_steps(54_289) == 4240


def test_steps_count_whatever_the_rows() -> None:
    assert STEPS.total_steps(54_289) == STEPS.total_steps(9) == RECIPE["steps"]
    assert STEPS.validation_interval(9) == RECIPE["evaluate_every"]


def test_fewer_rows_than_a_step_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"127 rows.*128"):
        EPOCHS.total_steps(127)


@pytest.mark.parametrize("lengths", [{"steps": None}, {"epochs": 1}])
def test_one_length_is_needed(lengths: dict) -> None:
    with pytest.raises(ValueError, match="epochs, steps"):
        Recipe(**RECIPE | lengths)


def test_a_models_own_length_replaces_the_recipes() -> None:
    assert with_overrides({"epochs": 10, "patience": 3}, {"steps": 5}) == {"steps": 5, "patience": 3}
    assert with_overrides({"epochs": 10, "patience": 3}, {"patience": 1}) == {"epochs": 10, "patience": 1}
