"""Paths of a run's files, shared by rules and jobs. Frames and records below `analysis/` are named by their writers."""

from dataclasses import dataclass
from pathlib import Path


def project_folder(package: Path) -> Path:
    """The folder with Snakefile, config.yaml, workflow/, authored/ and benchmarks/, whatever the working directory.

    Args:
        package: the folder of `zsbench`. A wheel has these files in its `project/` (`setup.py`), a clone at its top.
    """
    bundled = package / "project"
    return bundled if bundled.is_dir() else package.parents[1]


PROJECT = project_folder(Path(__file__).resolve().parents[1])
WORKFLOW = PROJECT / "workflow"  # schemas, presets, launch configs


@dataclass(frozen=True)
class Layout:
    """Paths below `results/<run>` (`root`). All ids are validated slugs, so no path can leave the folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's config and presets with defaults filled in; jobs read their specs from it (`Plan.spec`)."""
        return self.root / "config.json"

    @property
    def manifest(self) -> Path:
        """Record of everything the run fetched, and from where."""
        return self.root / "manifest.json"

    def fetched(self, source: str) -> Path:
        """Manifest of a fetched source; its files are next to it."""
        return self.root / "fetch" / source / "manifest.json"

    def dataset(self, dataset: str) -> Path:
        """Prepared rows of a test set: `sample_id`, `split`, `text`, `gold`."""
        return self.root / "datasets" / dataset / "rows.parquet"

    def dataset_card(self, dataset: str) -> Path:
        return self.root / "datasets" / dataset / "card.json"

    def training_set(self, training_set: str) -> Path:
        """Prepared training rows: `split`, `text`, `labels`, `not_labels`."""
        return self.root / "training_sets" / training_set / "rows.parquet"

    def training_set_card(self, training_set: str) -> Path:
        return self.root / "training_sets" / training_set / "card.json"

    def model(self, model: str, seed: int | str) -> Path:
        """Record of a finished training; the checkpoint is in `checkpoint/` next to it."""
        return self.root / "models" / model / f"seed{seed}" / "training.json"

    def checkpoint(self, model: str, seed: int | str) -> Path:
        return self.model(model, seed).with_name("checkpoint")

    def imported(self, system: str, dataset: str) -> Path:
        """Imported scores (`zsbench import-scores`)."""
        return self.root / "imported" / system / f"{dataset}.parquet"

    def label_counts(self, system: str) -> Path:
        """Answers of a system, and token counts of its encoder, for growing numbers of labels."""
        return self.root / "label_counts" / f"{system}.json"

    @property
    def label_pairs(self) -> Path:
        """Pairs of labels that are similar according to the untrained encoder."""
        return self.root / "analysis" / "label_pairs.json"

    @property
    def speed(self) -> Path:
        """Record of the speed study."""
        return self.root / "speed" / "speed.json"

    def cell(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        """Folder of one cell."""
        return self.root / "cells" / suite / dataset / system / f"seed{seed}"

    def scores(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        return self.cell(suite, dataset, system, seed) / "scores.parquet"

    def card(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        return self.cell(suite, dataset, system, seed) / "card.json"

    def scored(self, system: str, seed: int | str) -> Path:
        """Record of a scoring job: the cells of its system and seed, with checksums."""
        return self.root / "scores" / system / f"seed{seed}.json"

    def measured(self, system: str, seed: int | str) -> Path:
        """Record of a measuring job: the metrics of these cells, with checksums."""
        return self.root / "metrics" / system / f"seed{seed}.json"

    def sensitivity(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        """Answers with other label orders and wordings; the file exists only if the run measures sensitivity."""
        return self.cell(suite, dataset, system, seed) / "sensitivity.json"

    def decisions(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        """Predictions of a cell under each protocol."""
        return self.cell(suite, dataset, system, seed) / "decisions.parquet"

    def failures(self, system: str, seed: int | str) -> Path:
        """One line per failure of a cell in this scoring job; the file exists only if there was one."""
        return self.root / "failures" / f"{system}-seed{seed}.txt"

    def metrics(self, suite: str, dataset: str, system: str, seed: int | str) -> Path:
        return self.cell(suite, dataset, system, seed) / "metrics.json"
