"""`workflow/resources/published.yaml`: published numbers, one for every column of a table."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsbench.config.load import load_yaml
from zsbench.store.errors import ConfigError, suggest
from zsbench.store.fields import EntryError, Some, Strict, Text, absent, validate
from zsbench.store.layout import WORKFLOW

PUBLISHED = WORKFLOW / "resources" / "published.yaml"
Share = Annotated[float, Field(ge=0, le=1)]


class PublishedSystem(Strict):
    """One row of a publication's table."""

    values: list[Share]
    measured: Text | None = absent("system of a run with the same model")
    weights: Text | None = absent("system of a run that loads the authors' checkpoint, if `measured` is trained here")
    made_of: Some[Text] | None = absent("data that the authors trained it on")
    scored_as: dict[Text, Text] = Field(
        {}, description="dataset -> preset with the label wording of this row, if there is one"
    )
    rows: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="dataset -> rows that this row was scored on, where it was another copy of the test"
    )
    protocol: Text | None = absent("how its thresholds were chosen")
    thresholds: list[Share] | None = absent("threshold per label")
    average: Share | None = absent("printed average")
    delta: Annotated[float, Field(ge=-1, le=1)] | None = absent("printed difference")


class Publication(Strict):
    """One published table: one metric on several data sets, or several metrics (`columns`) on one data set."""

    source: Text
    date: Text
    caveat: Text
    suite: Text
    split: Literal["validation", "test"] | None = absent("split that was reported")
    metric: Text | None = absent("metric of all values")
    datasets: Some[Text]
    columns: Some[Text] | None = absent("metrics on the one data set, in the order of `values`")
    systems: dict[str, PublishedSystem]

    @model_validator(mode="after")
    def _a_number_for_every_column(self) -> Any:
        if (self.metric is None) == (self.columns is None):
            raise EntryError("metric", "exactly one of `metric` and `columns` is required")
        if self.columns and len(self.datasets) > 1:
            raise EntryError("datasets", f"{len(self.datasets)} given; allowed: exactly one together with `columns`")
        columns = self.columns or self.datasets
        labels = [column for column in columns if column.startswith("f1:")]
        for name, row in self.systems.items():
            key = f"systems.{name}"
            for dataset in row.rows.keys() - set(self.datasets):
                raise EntryError(f"{key}.rows", f"{dataset!r} is not known{suggest(dataset, self.datasets)}")
            if len(row.values) != len(columns):
                raise EntryError(f"{key}.values", f"{len(row.values)} values for {len(columns)} columns")
            needed = "protocol" if self.columns else "average"
            if getattr(row, needed) is None:
                raise EntryError(f"{key}.{needed}", "required")
            if row.thresholds is not None and len(row.thresholds) != len(labels):
                raise EntryError(f"{key}.thresholds", f"{len(row.thresholds)} thresholds for {len(labels)} labels")
        return self


class Throughput(Strict):
    """Published speeds, measured on other machines."""

    source: Text
    date: Text
    caveat: Text
    unit: Text
    systems: dict[str, dict[str, Annotated[float, Field(ge=0)]]]


class Published(Strict):
    """The file as a whole."""

    rows: dict[str, Annotated[int, Field(ge=1)]] = Field(description="dataset -> rows in the published test set")
    publications: dict[str, Publication]
    throughput: dict[str, Throughput]

    @model_validator(mode="after")
    def _rows_are_known(self) -> Any:
        for name, entry in self.publications.items():
            for dataset in entry.datasets:
                if dataset not in self.rows:
                    raise EntryError(
                        f"publications.{name}.datasets", f"unknown id {dataset!r}{suggest(dataset, self.rows)}"
                    )
        return self


def load_published(path: Path) -> dict[str, Any]:
    """`rows`, `publications` and `throughput` of published.yaml.

    Raises:
        ConfigError: names every key that is wrong.
    """
    published, problems = validate(Published, load_yaml(path))
    if problems:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return published.model_dump()
