"""Published numbers: complete, consistent with their averages, and only compared on the same test sets."""

import made_up_run
import pandas as pd
import pytest
import yaml

from zsbench.config.load import load_yaml, resolve
from zsbench.config.published import PUBLISHED, load_published
from zsbench.plan.plan import Plan
from zsbench.reporting.frames import RunData
from zsbench.reporting.tables.published import published_table
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json

REPOSITORY = PUBLISHED.parents[2]


@pytest.fixture(scope="module")
def reported():
    return load_published(PUBLISHED)


@pytest.mark.parametrize(("name", "rounding"), [("P1", 6e-5), ("P2", 6e-5), ("P3", 6e-4)])  # P3 has three decimals
def test_printed_averages_follow_from_the_printed_rows(reported, name, rounding):
    for system, row in reported["publications"][name]["systems"].items():
        mean = sum(row["values"]) / len(row["values"])
        assert mean == pytest.approx(row["average"], abs=rounding), system


def test_the_cards_deltas_follow_from_its_averages(reported):
    systems = reported["publications"]["P1"]["systems"]
    deltas = {name: row["delta"] for name, row in systems.items() if "delta" in row}
    assert deltas == {
        "GLiClass-large-v3": -0.1047,
        "GLiClass-base-v3": -0.0614,
        "GLiClass-modern-large": -0.0267,
        "GLiClass-modern-base": 0.0294,
        "GLiClass-edge": 0.0664,
    }
    for name, delta in deltas.items():  # rounded averages: the last digit may differ by one
        assert systems["GliZNet"]["average"] - systems[name]["average"] == pytest.approx(delta, abs=1.5e-4)


def test_the_headline_of_the_hybrid_card(reported):
    systems = reported["publications"]["P4"]["systems"]
    gain = systems["HybridNLI v2 (val-tuned)"]["values"][0] - systems["NLI baseline"]["values"][0]
    assert gain == pytest.approx(0.2366)
    for row in systems.values():  # macro F1 is the mean of the five published F1s
        assert sum(row["values"][5:]) / 5 == pytest.approx(row["values"][0], abs=2e-4)


def test_every_publication_has_source_date_and_caveat(reported):
    for entry in [*reported["publications"].values(), *reported["throughput"].values()]:
        assert all(entry[key] for key in ("source", "date", "caveat"))
    numbers = sum(
        len(row["values"]) for entry in reported["publications"].values() for row in entry["systems"].values()
    )
    assert numbers == 6 * 10 + 5 * 10 + 3 * 9 + 5 * 10


def test_expected_rows_are_those_of_the_presets(reported):
    presets = yaml.safe_load((PUBLISHED.parent / "datasets.yaml").read_text(encoding="utf-8"))["datasets"]
    for name, count in reported["rows"].items():
        split = "validation" if presets[name]["task"] == "multi" else "test"
        assert presets[name]["expected_rows"][split] == count


def test_a_missing_value_is_named(tmp_path):
    text = PUBLISHED.read_text(encoding="utf-8").replace("[0.8752, ", "[", 1)
    (tmp_path / "published.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="`publications.P1.systems.GliZNet.values`"):
        load_published(tmp_path / "published.yaml")


def run_with(
    root,
    datasets: dict[str, tuple[float, int]],
    made_of: tuple[str, ...] = ("deberta-v3-base", "zshot-hardset-v2"),
    names: tuple[str, ...] = ("gliznet-full",),
    suite: str = "gliclass",
) -> RunData:
    """Write a run whose systems have these (macro-F1, rows)."""
    where = {"suite": suite, "seed": 1, "protocol": "argmax", "split": "test"}
    rows = [
        where | {"system": system, "dataset": name, "metric": "macro_f1", "label": "", "value": value}
        for system in names
        for name, (value, _) in datasets.items()
    ]
    (root / "analysis").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(root / "analysis" / "metrics.parquet")
    for name, (_, count) in datasets.items():
        for system in names:
            write_json(Layout(root).card(suite, name, system, 1), {"rows": {"test": count}})
    entries = [{"id": name, "title": name, "task": "single", "labels": [], "label_names": []} for name in datasets]
    system = {"suites": [suite], "seeds": [1], "control": False, "made_of": list(made_of)}
    system |= {"trained": True, "settings": {}}
    systems = [system | {"id": name, "model": name} for name in names]
    return RunData(root, {"suites": {suite: made_up_run.single_suite(entries)}, "systems": systems})


def of_gliznet(run: RunData, reported: dict, system: str = "GliZNet", source: str = "P1") -> pd.DataFrame:
    frame = published_table(run, reported).frame
    frame = frame[(frame["system"] == system) & (frame["source"] == source) & (frame["metric"] == "macro_f1")]
    return frame.set_index("dataset")


def test_difference_only_where_the_rows_are_the_published_ones(tmp_path, reported):
    frame = of_gliznet(run_with(tmp_path, {"cr": (0.9, 376), "sst2": (0.8, 300)}), reported)
    assert frame.loc["cr", "reported"] == 0.8752 and frame.loc["cr", "difference"] == pytest.approx(-0.0248)
    assert frame.loc["sst2", "measured"] == 0.8 and frame.loc["sst2", "remark"] == "other rows: 300 here, 1821 there"
    assert frame[["measured", "difference"]].notna().sum().tolist() == [2, 1]
    assert set(frame.index) == {"cr", "sst2"}, "a number without a measured one is not shown"


def test_a_system_made_of_other_things_is_shown_without_a_difference(tmp_path, reported):
    run = run_with(tmp_path, {"cr": (0.9, 376)}, made_of=("minilm", "hardset-mini"))
    row = of_gliznet(run, reported).loc["cr"]
    assert row["measured"] == 0.9 and pd.isna(row["difference"]) and row["remark"].startswith("made of minilm")


def test_the_paper_run_makes_what_the_publications_name(reported):
    config = load_yaml(REPOSITORY / "config.yaml")
    systems = {
        entry["id"]: entry for entry in Plan(config, resolve(config, REPOSITORY / "workflow")).analysis_spec["systems"]
    }
    named = [
        row for entry in reported["publications"].values() for row in entry["systems"].values() if "made_of" in row
    ]
    measured = [row for row in named if "measured" in row]
    assert len(named) == len(measured) == 6
    for row in measured:
        assert systems[row["measured"]]["made_of"] == row["made_of"]
    loaded = {row["weights"] for row in named if "weights" in row}
    assert loaded == {"gliznet-published", "hybrid-published"} <= systems.keys()
    protocols = {row["protocol"] for row in reported["publications"]["P4"]["systems"].values()}
    assert protocols <= {*config["suites"]["topics"]["protocols"]}


def test_every_row_of_the_hybrid_card_has_its_systems_and_its_protocol(reported):
    rows = reported["publications"]["P4"]["systems"].items()
    assert {name: (row["measured"], row.get("weights"), row["protocol"]) for name, row in rows} == {
        "NLI baseline": ("nli-deberta-large", None, "fixed-0.5"),
        "HybridNLI v1 (CV thresholds)": ("hybrid-v1", None, "heads-tuned"),
        "HybridNLI v2 (tau 0.5)": ("hybrid", "hybrid-published", "fixed-0.5"),
        "HybridNLI v2 (val-tuned)": ("hybrid", "hybrid-published", "val-tuned"),
        "HybridNLI v2 (CV thresholds)": ("hybrid", "hybrid-published", "train-cv"),
    }


def test_the_published_weights_stand_beside_the_model_that_is_trained_here(tmp_path, reported):
    """Rows for reported, loaded and trained model; a difference only if scored on the published rows."""
    run = run_with(tmp_path, {"cr": (0.9, 376), "sst2": (0.8, 1821)}, names=("gliznet-full", "gliznet-published"))
    frame = of_gliznet(run, reported)
    assert frame.loc["cr", ["weights", "measured"]].tolist() == [0.9, 0.9]
    assert frame.loc["sst2", "weights_difference"] == pytest.approx(0.0839)
    other = of_gliznet(run_with(tmp_path / "other", {"cr": (0.9, 300)}, names=("gliznet-published",)), reported)
    assert other.loc["cr", "weights"] == 0.9 and pd.isna(other.loc["cr", "weights_difference"])
    assert other.loc["cr", "remark"] == "other rows: 300 here, 376 there" and pd.isna(other.loc["cr", "measured"])


def test_a_dataset_with_the_publications_own_words_is_taken_where_the_run_has_it(tmp_path, reported):
    both = {"sst5": (0.3, 2210), "sst5-alphabetical": (0.4, 2210)}
    assert of_gliznet(run_with(tmp_path / "both", both), reported).loc["sst5", "measured"] == 0.4
    assert of_gliznet(run_with(tmp_path / "one", {"sst5": (0.3, 2210)}), reported).loc["sst5", "measured"] == 0.3


def test_a_dataset_is_found_in_whatever_suite_the_run_has_it(tmp_path, reported):
    frame = of_gliznet(run_with(tmp_path, {"sst5": (0.3, 2210)}, suite="gliclass-script"), reported)
    assert frame.loc["sst5", "measured"] == 0.3 and pd.notna(frame.loc["sst5", "difference"])


def test_the_thresholds_are_those_of_the_printed_headline(reported):
    row = reported["publications"]["P4"]["systems"]["HybridNLI v2 (val-tuned)"]
    assert row["values"][0] == 0.9054 and row["thresholds"] == [0.38, 0.03, 0.26, 0.33, 0.35]


@pytest.mark.parametrize("copy", [1129, 2264])
def test_the_average_is_compared_when_every_dataset_is_measured_on_the_rows_of_that_column(tmp_path, reported, copy):
    """GliZNet's author had 1,129 rows of Financial PhraseBank, the GLiClass paper 2,264."""
    entry, sizes = reported["publications"]["P1"], reported["rows"] | {"financial-phrasebank": copy}
    values = entry["systems"]["GliZNet"]["values"]
    datasets = {name: (value, sizes[name]) for name, value in zip(entry["datasets"], values, strict=True)}
    run = run_with(tmp_path, datasets, names=("gliznet-full", "gliclass-large"))
    frame, same = of_gliznet(run, reported), copy == 1129
    assert frame.loc["average", "measured"] == pytest.approx(0.6473, abs=5e-5)
    for name in ("average", "financial-phrasebank"):
        assert pd.isna(frame.loc[name, "difference"]) != same
        assert pd.isna(of_gliznet(run, reported, "GLiClass-large-v3").loc[name, "difference"]) == same
        assert pd.isna(of_gliznet(run, reported, "GLiClass-large-v3", "P2").loc[name, "difference"]) != same
    if same:
        assert frame.loc["average", "difference"] == pytest.approx(0, abs=5e-5)
    else:
        assert frame.loc["financial-phrasebank", "remark"] == "other rows: 2264 here, 1129 there"


def test_each_publications_columns_have_the_words_that_its_author_used(reported):
    """The author of P2 scored GLiClass with SST-5 in alphabetical order and dotted groups, GliZNet without dots."""
    alphabetical, dotted = {"sst5": "sst5-alphabetical"}, {"20-newsgroups": "20-newsgroups-dotted"}
    words = {
        (source, name): row["scored_as"]
        for source in ("P1", "P2")
        for name, row in reported["publications"][source]["systems"].items()
        if row.get("measured")
    }
    for (source, name), found in words.items():
        expected = alphabetical if name.startswith("GliZNet") else dotted | (alphabetical if source == "P2" else {})
        assert found == expected, (source, name)
