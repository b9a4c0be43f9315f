"""Data cards of the authored sets, rendered from the rows, so that no number on a card is typed by hand.

`python -m authored.cards` rewrites the cards; a test checks that they are up to date. Model results come from
`<set>.results.json` next to the data, if a run has written it (see `results_block`).
"""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from authored.check_hardset import (
    KINDS,
    LENGTHS,
    SPLITS,
    bundle_kinds,
    check_hardset,
    label_sets,
    unseen_shares,
    wording,
)
from authored.check_topics import KINDS as ROW_KINDS
from authored.check_topics import LABELS, check_topics
from authored.findings import Report, is_verbatim
from authored.word_ceiling import AUC_CEILING, WordScores, measure_words
from zsbench.data.authored_sets import HARDSET, HARDSET_MORE, TOPICS, read_authored
from zsbench.data.fetched import AUTHORED
from zsbench.store.provenance import read_json, write_text

RESULTS_START, RESULTS_END = "<!-- results: start -->", "<!-- results: end -->"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *([str(cell) for cell in row] for row in body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def results_block(results: dict[str, Any] | None) -> str:
    """The marked block of model results.

    Args:
        results: None if nothing was measured, else `run` (name), `command`, `level` (confidence level, 0.95), `note`
            and `rows`, each with `where` (set and split), `metric`, `trained`, `untrained`, `difference`, `low`,
            `high`, `texts`, `seeds`.
    """
    if results is None:
        body = "Not measured yet."
    else:
        head = ["where", "metric", "GliZNet", "untrained bi-encoder", "difference", "interval", "texts", "seeds"]
        rows = [
            [
                row["where"],
                row["metric"],
                f"{row['trained']:.3f}",
                f"{row['untrained']:.3f}",
                f"{row['difference']:+.3f}",
                f"{row['low']:+.3f} to {row['high']:+.3f}",
                row["texts"],
                row["seeds"],
            ]
            for row in results["rows"]
        ]
        body = (
            f"Run `{results['run']}` (`{results['command']}`). {results['note']} Intervals are paired bootstrap, "
            f"{results['level']:.0%}.\n\n{markdown_table(head, rows)}"
        )
    return f"{RESULTS_START}\n{body}\n{RESULTS_END}"


def _rules(report: Report) -> str:
    body = [[item.rule, item.allowed, item.measured, "FAILS" if item.failures else "holds"] for item in report.findings]
    # The overlap rule needs the evaluation sets, which are not available when a card is rendered.
    body = [row for row in body if row[0] != "evaluation overlap"]
    return markdown_table(["rule", "asked", "measured", "verdict"], body)


def _word_counts(rows: Sequence[dict[str, Any]]) -> str:
    counts = np.array([len(row["text"].split()) for row in rows])
    low, middle, high = np.percentile(counts, [5, 50, 95])
    return f"mean {counts.mean():.1f}, median {middle:.0f}, 5th to 95th percentile {low:.0f} to {high:.0f}"


def _hardset_splits(rows: Sequence[dict[str, Any]]) -> str:
    body = []
    labels = label_sets(rows)
    for split in SPLITS:
        part = [row for row in rows if row["split"] == split]
        body.append(
            [
                split,
                len({row["bundle"] for row in part}),
                len(part),
                len(labels[split]),
                f"{np.mean([len(row['labels']) for row in part]):.2f}",
                f"{np.mean([len(row['not_labels']) for row in part]):.2f}",
            ]
        )
    return markdown_table(["split", "bundles", "texts", "distinct labels", "true a text", "false a text"], body)


def _word_scores(scores: dict[str, WordScores]) -> str:
    names = {"chance": "random scores", "label": "the label alone", "overlap": "overlap of words and word pieces"}
    names["all"] = "text, label and overlap"
    body = [[names[name], f"{value.auc:.2f}", f"{value.mean_ap:.2f}"] for name, value in scores.items()]
    return markdown_table(["logistic regression on", "pooled ROC-AUC", "mean average precision"], body)


HOW_WRITTEN = """\
The texts and labels were written by language models acting as authors, on written instruction, for this
project, with a checker that named what broke the rules. No person has reviewed them. The authors were told to take
nothing from an existing dataset and to fill no template. When finished, the set was compared with the test sets of CR,
SST-2, SST-5, IMDb, Rotten Tomatoes, AG News, 20 Newsgroups and the HybridNLI topic benchmark: no text shares its
wording with theirs by the validator's rule."""

RULES_INTRO = """\
`python -m authored check` enforces them, with one more: no text may share its wording with an evaluation set that it
is given. Counts asked for were set before the writing; the bounds on shares were drawn around targets set before it,
with the data in sight."""


def render_hardset(rows: Sequence[dict[str, Any]], results: dict[str, Any] | None) -> str:
    """The card of hardset-mini, from all its rows and the measured results (None if there are none)."""
    report, scores = check_hardset(rows), measure_words(rows)
    kinds = Counter(bundle_kinds(rows).values())
    every = set().union(*label_sets(rows).values())
    bundles = Counter(label.lower() for _, label in bundle_kinds(rows))
    wordings = Counter(wording(label) for label in every)
    distinct, pairs = unseen_shares(rows)
    lengths = Counter(row["length"] for row in rows)
    lures = sum(is_verbatim(label, row["text"]) for row in rows for label in row["not_labels"])
    common = ", ".join(f"{label} ({count})" for label, count in bundles.most_common(12))
    share = {name: f"{100 * count / sum(kinds.values()):.1f} %" for name, count in kinds.items()}
    return f"""# {HARDSET}

Texts with labels that are true of them and labels that are plausible and false, for training and testing zero-shot
text classifiers. English. Licence: CC BY 4.0. File: `{HARDSET}.jsonl`.
This card is rendered from the data by `python -m authored.cards`.

## How it was written

{HOW_WRITTEN}

The unit is a bundle: five texts around one situation, in one register and one domain, and 12 to 18 labels that the five
share. For each text each label is true (`labels`), false (`not_labels`) or, rarely, debatable (in neither). Every label
is true of at least one text of its bundle and false of another, so that the label alone cannot decide its
truth. A label never stands verbatim in a text it is true of.

After the writing, an editor (a language model too) read 70 of the bundles, all labels against all texts: of about 5,800
judgements 6 were changed (one made true, five made debatable), 3 labels that were true of nearly every text were taken
out and 1 was reworded. 28 texts were rewritten as two paragraphs to mend the spread of lengths. The other bundles
were read by their authors only.

## Fields

`bundle`, `split`, `text`, `labels`, `not_labels`, `register`, `domain`, `length` (sentence, short: 2 to 3 sentences,
medium: 4 or more, paragraphs: two), `kind` (of each label, those of `labels` first, then those of `not_labels`).
`text`, `labels` and `not_labels` are the columns of the published sets. `pandas.read_json(path, lines=True)` reads it.

## Counts

{_hardset_splits(rows)}

A bundle lies in one split. {distinct:.1f} % of the distinct test labels, and {pairs:.1f} % of the test (text, label)
pairs, have a label that no training text carries in either role. Domains and registers do recur across splits.

- Words a text: {_word_counts(rows)}.
- Lengths: {", ".join(f"{name} {lengths[name]}" for name in LENGTHS)}.
- {len({row["register"] for row in rows})} registers, {len({row["domain"] for row in rows})} domains.
- {len(every):,} distinct labels: {", ".join(f"{name} {count:,}" for name, count in sorted(wordings.items()))};
  {sum(count == 1 for count in bundles.values()):,} occur in one bundle only.
- Labels of bundles by kind: {", ".join(f"{name} {share[name]}" for name in KINDS)}.
- Labels in the most bundles: {common}.
- Words of a false label stand verbatim in the text in {lures} pairs.

## Rules and what the validator measured

{RULES_INTRO}

{_rules(report)}

## Words alone

A trivial classifier trained on the train split, scored on the test split. The ceiling, a pooled ROC-AUC of
{AUC_CEILING}, was set before the first measurement; a test fails when any row of the table exceeds it.

{_word_scores(scores)}

## Models

A GliZNet variant trained on the train split against the same backbone's untrained bi-encoder.

{results_block(results)}

## Known limits

- Written by language models: its style, humour and British spelling are theirs, and so are its blind spots. Labels were
  judged by their author alone; nobody has measured agreement.
- Small: it shows a recipe and trains a model for a demonstration. It does not replace the published sets.
- Longer texts have more true labels: text length hints at how many are true, though not at which.
- Lures are mostly by meaning; a false label's own words rarely stand in the text (see above).
- A label absent from both lists is debatable, not false; treating it as false adds noise.
- Everyday labels recur across splits, so that a part of the test measures labels seen in training. Report unseen labels
  apart where it matters.
- People, firms and places are invented; likenesses are accidents. Some texts are scams, insults or grief, on purpose.
"""


def agreement(rows: Sequence[dict[str, Any]], rereading: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How far a second, blind reading agrees with the labels.

    Args:
        rows: the rows of the set.
        rereading: per reread text its `row` (index) and `labels` (those the second reader holds true).

    Returns:
        `texts`, `pairs` (of a text and one of its labels), `missed` and `added` (shares of the pairs labelled true that
        the reader holds false, and labelled false that the reader holds true), `same` (share of pairs), `kappa`
        (Cohen's).
    """
    first, second = [], []
    for entry in rereading:
        row, read = rows[entry["row"]], set(entry["labels"])
        first += [True] * len(row["labels"]) + [False] * len(row["not_labels"])
        second += [label in read for label in row["labels"] + row["not_labels"]]
    a, b = np.array(first), np.array(second)
    return {
        "texts": len(rereading),
        "pairs": len(a),
        "missed": float((~b[a]).mean()),
        "added": float(b[~a].mean()),
        "same": float((a == b).mean()),
        "kappa": float(cohen_kappa_score(a, b)),
    }


def render_more(rows: Sequence[dict[str, Any]], rereading: Sequence[dict[str, Any]]) -> str:
    """The card of hardset-more, from all its rows and the second reading of some."""
    report = check_hardset(rows, extends=read_authored(HARDSET))
    every = {label.lower() for row in rows for label in row["labels"] + row["not_labels"]}
    known = label_sets(read_authored(HARDSET))["train"]
    true, false = (np.mean([len(row[key]) for row in rows]) for key in ("labels", "not_labels"))
    read = agreement(rows, rereading)
    second = textwrap.fill(
        f"A language model that had not written the set was shown {read['texts']:.0f} texts, drawn at random, with"
        f" their labels in alphabetical order and without the answers, and marked the true ones: {read['pairs']:,.0f}"
        f" pairs of text and label. It agreed with {read['same']:.1%} of them (Cohen's kappa {read['kappa']:.2f})."
        f" Of the labels marked true, it held {read['missed']:.1%} for false, and of those marked false,"
        f" {read['added']:.1%} for true. Pairs that the author had marked debatable were not shown, and two language"
        f" models may err alike, so this agreement is an upper bound. The reading is `{HARDSET_MORE}.reread.jsonl`; no"
        f" label was changed after it.",
        120,
    )
    return f"""# {HARDSET_MORE}

{len(rows):,} more training texts in the manner of [{HARDSET}]({HARDSET}.md): same unit, fields and rules. English.
Licence: CC BY 4.0. File: `{HARDSET_MORE}.jsonl`. The training set `hardset-large` is the training texts of both;
validation and test rows are those of {HARDSET}.
This card is rendered from the data by `python -m authored.cards`.

## How it was written

{HOW_WRITTEN}
It was written after {HARDSET}, with more weight on sport, computing, finance, politics, film, products and short
messages.

## Counts

- {len(rows):,} texts in {len({row["bundle"] for row in rows})} bundles.
- Labels per text: {true:.2f} true, {false:.2f} false.
- Words per text: {_word_counts(rows)}.
- {len({row["register"] for row in rows})} registers, {len({row["domain"] for row in rows})} domains.
- {len(every):,} distinct labels, of which {len(every - known):,} do not occur in {HARDSET}'s training texts.

## Rules and what the validator measured

{_rules(report)}

## A second reading

{second}

## Known limits

- Those of {HARDSET}. No person has read it.
- Its domains were chosen near those of the embedded run's test sets: the authors knew topics such as baseball, space
  flight, trade and film, though no text of a test set. A gain on these sets would be no evidence for other domains.
"""


def _topic_splits(rows: Sequence[dict[str, Any]]) -> str:
    body = []
    for name in (*SPLITS, "all"):
        part = [row for row in rows if name in (row["split"], "all")]
        counts = Counter(len(row["labels"]) for row in part)
        by_label = Counter(label for row in part for label in row["labels"])
        body.append([name, len(part), *(counts[n] for n in range(4)), *(by_label[label] for label in LABELS)])
    return markdown_table(["split", "rows", "0 labels", "1", "2", "3", *LABELS], body)


def _predict_everything(rows: Sequence[dict[str, Any]]) -> float:
    """Macro-F1 on the test split of predicting every label for every row: F1 = 2p / (1 + p) for label prior p."""
    test = [row for row in rows if row["split"] == "test"]
    rates = [sum(label in row["labels"] for row in test) / len(test) for label in LABELS]
    return float(np.mean([2 * rate / (1 + rate) for rate in rates]))


def render_topics(rows: Sequence[dict[str, Any]], results: dict[str, Any] | None) -> str:
    """The card of topics-mini, from all its rows and the measured results (None if there are none)."""
    kinds = Counter(row["kind"] for row in rows)
    words = [
        f"{n}: {np.mean([len(row['text'].split()) for row in rows if len(row['labels']) == n]):.0f}" for n in range(4)
    ]
    return f"""# {TOPICS}

Short texts with any of five topics: {", ".join(LABELS)}.
A multi-label benchmark, harder where such sets are easy: texts without a topic, base rates that differ, near misses and
hard pairs. English. Licence: CC BY 4.0. File: `{TOPICS}.jsonl`.
This card is rendered from the data by `python -m authored.cards`.

## How it was written

{HOW_WRITTEN}

A label is true only when the text is about it, not when its words are mentioned: an obituary of a banker is not
Finance. `kind` tells a `near-miss` (a lure towards a label that is false, in a text with or without other labels), a
`hard-pair` (Finance or Economy is true and the other is near, or both are true for separate reasons) and a `plain` row.
An editor (a language model too) read 126 of the rows and changed none.

## Fields

`text`, `labels`, `split`, `kind`. `pandas.read_json(path, lines=True)` reads it.

## Counts

{_topic_splits(rows)}

- Words a text: {_word_counts(rows)}; mean by number of labels: {", ".join(words)}.
- Kinds: {", ".join(f"{kind} {kinds[kind]}" for kind in ROW_KINDS)}.
- Giving every label to every row scores a macro-F1 of {_predict_everything(rows):.3f} on the test split.

## Rules and what the validator measured

{RULES_INTRO}

{_rules(check_topics(rows))}

## Models

{results_block(results)}

## Known limits

- Written by language models, one author, in one manner; nobody has measured agreement on the labels.
- The word count tells no label (see the rules): a language model lengthened 271 texts of a first version, in which rows
  without a topic were shorter, and which additions stayed was chosen by these counts, on all splits. Nobody reread the
  labels. Words of Finance and Economy are longer and their sentences fewer, so characters and full stops still hint at
  those two.
- Texts without a topic are often quips; a model may learn their tone.
- Figures and events are invented, although places and some firms are real. Do not read facts from it.
- The test split is small: differences of a few points of macro-F1 are within its sampling error.
"""


def render(name: str) -> str:
    """Render the card of an authored set from the current data."""
    if name == HARDSET_MORE:
        return render_more(read_authored(name), read_authored(f"{name}.reread"))
    path = AUTHORED / f"{name}.results.json"
    results = read_json(path) if path.is_file() else None
    return (render_hardset if name == HARDSET else render_topics)(read_authored(name), results)


def card_path(name: str) -> Path:
    """Path of an authored set's card."""
    return AUTHORED / f"{name}.md"


def main() -> None:
    """Rewrite the cards."""
    for name in (HARDSET, HARDSET_MORE, TOPICS):
        write_text(card_path(name), render(name))


if __name__ == "__main__":
    main()
