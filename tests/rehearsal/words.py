"""Made-up text for replicas: seeded sentences whose words lean towards one theme per label. Nothing is quoted."""

import random
from collections.abc import Sequence

THEMES = (
    "kettle spoon oven flour butter recipe baker crust",
    "harbor sail anchor tide rope captain deck gull",
    "violin chord stage drummer melody choir encore tune",
    "glacier ridge summit trail boots tent snow slope",
    "ledger invoice bank loan budget audit share profit",
    "clinic nurse fever tablet patient surgeon pulse vaccine",
    "router code laptop server chip robot sensor keyboard",
    "forest river moss beaver soil oak meadow wetland",
    "market wage export price factory strike tariff growth",
    "planet orbit comet lens rocket lunar probe crater",
)
COMMON = (
    "the a this that one some every old new small large quiet early late near under after before with without of and "
    "but while because so then again often never hardly nearly was is had gave took found kept left turned looked "
    "seemed said asked wanted started finished morning evening week year people friend neighbor street town house"
)
LONG = 420  # words: more than fit into 512 tokens


def sentence(generator: random.Random, theme: int, words: int) -> str:
    """`words` words, a third of them of one theme, and a full stop."""
    own, common = THEMES[theme % len(THEMES)].split(), COMMON.split()
    picked = [generator.choice(own if generator.random() < 0.34 else common) for _ in range(words)]
    return " ".join(picked).capitalize() + "."


def themed_texts(seed: str, themes: Sequence[int], long: bool = False) -> list[str]:
    """One text for each theme index, of 6 to 24 words; the last repeats the first where they share a theme.

    Args:
        seed: name that determines every word.
        themes: theme of each text (two or more texts).
        long: whether the second text is over-long.
    """
    generator = random.Random(seed)
    texts = [sentence(generator, theme, generator.randint(6, 24)) for theme in themes]
    if long:
        texts[1] = sentence(generator, themes[1], LONG)
    if themes[-1] == themes[0]:
        texts[-1] = texts[0]
    return texts


def corpus(labels: Sequence[str]) -> list[str]:
    """Training text for replica tokenizers: letters and punctuation, all words, sentences of all themes, labels.

    Args:
        labels: wordings that must not be split into letters, since real tokenizers know their words.
    """
    generator = random.Random("corpus")
    letters = "abcdefghijklmnopqrstuvwxyz"
    alphabet = f"{letters} {letters.upper()} 0123456789 . , ; : ! ? ' - _ / ( ) {{ }} < > [ ] % &"
    sentences = [sentence(generator, i, 12) for i in range(400)]
    hypotheses = [f"This example is {label}." for label in labels]
    words = dict.fromkeys(" ".join([*hypotheses, *THEMES, COMMON]).split())
    plurals = " ".join(f"{word}s" for word in words)  # unigram trainers need substrings shared by words
    return [alphabet, *THEMES, COMMON, plurals, *sentences, *8 * [*labels, *hypotheses]]
