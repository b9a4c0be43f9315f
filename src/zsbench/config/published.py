"""`workflow/resources/published.yaml`: numbers that others printed, with a number for every column."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsbench.config.load import load_yaml
from zsbench.errors import ConfigError, suggest
from zsbench.fields import EntryError, Some, Strict, Text, absent, validate

Share = Annotated[float, Field(ge=0, le=1)]


class PublishedSystem(Strict):
    """One row of a publication's table."""

    values: list[Share]
    measured: Text | None = absent("the system of a run that is the same model")
    made_of: Some[Text] | None = absent("what the authors trained it on")
    protocol: Text | None = absent("how its thresholds were chosen")
    thresholds: list[Share] | None = absent("of each label")
    average: Share | None = absent("as printed")
    delta: Annotated[float, Field(ge=-1, le=1)] | None = absent("as printed")


class Publication(Strict):
    """One table of a publication: a metric by data set, or several metrics (`columns`) of one data set."""

    source: Text
    date: Text
    caveat: Text
    suite: Text
    split: Literal["validation", "test"] | None = absent("which rows were reported")
    metric: Text | None = absent("of every value")
    datasets: Some[Text]
    columns: Some[Text] | None = absent("metrics of the one data set, in the order of the values")
    systems: dict[str, PublishedSystem]

    @model_validator(mode="after")
    def _a_number_for_every_column(self) -> Any:
        if (self.metric is None) == (self.columns is None):
            raise EntryError("metric", "one of `metric` and `columns` is needed")
        if self.columns and len(self.datasets) > 1:
            raise EntryError("datasets", f"{len(self.datasets)}; with `columns` there is one")
        columns = self.columns or self.datasets
        labels = [column for column in columns if column.startswith("f1:")]
        for name, row in self.systems.items():
            key = f"systems.{name}"
            if len(row.values) != len(columns):
                raise EntryError(f"{key}.values", f"{len(row.values)} values for {len(columns)} columns")
            needed = "protocol" if self.columns else "average"
            if getattr(row, needed) is None:
                raise EntryError(f"{key}.{needed}", "required")
            if row.thresholds is not None and len(row.thresholds) != len(labels):
                raise EntryError(f"{key}.thresholds", f"{len(row.thresholds)} thresholds for {len(labels)} labels")
        return self


class Throughput(Strict):
    """Speeds that were printed, of other machines."""

    source: Text
    date: Text
    caveat: Text
    unit: Text
    systems: dict[str, dict[str, Annotated[float, Field(ge=0)]]]


class Published(Strict):
    """The whole file."""

    rows: dict[str, Annotated[int, Field(ge=1)]] = Field(description="dataset -> rows of the published test")
    publications: dict[str, Publication]
    throughput: dict[str, Throughput]

    @model_validator(mode="after")
    def _rows_are_known(self) -> Any:
        for name, entry in self.publications.items():
            for dataset in entry.datasets:
                if dataset not in self.rows:
                    raise EntryError(
                        f"publications.{name}.datasets", f"{dataset!r} is not known{suggest(dataset, self.rows)}"
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
