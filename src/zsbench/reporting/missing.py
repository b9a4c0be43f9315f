"""What every table and figure says of cells without scores, of averages over fewer sets, and of labels in chunks."""

from collections.abc import Collection

from zsbench.reporting.frames import RunData


def sets_text(count: int, total: int) -> str:
    """What follows an average that is not over all sets, with a space before it; "" where it is."""
    return "" if count == total else f" ({count} of {total} sets)"


def missing_notes(run: RunData, suites: Collection[str]) -> list[str]:
    """A footnote a reason for which systems have no number on datasets, and the rule that averages follow; [] if none.

    Args:
        suites: whose cells the table or figure shows.
    """
    groups = missing_groups(run, suites)
    if not groups:
        return []
    return [
        *(f"{word}: {'; '.join(where)}: {reason.rstrip('.')}." for (word, reason), where in groups.items()),
        f"Averages and differences of averages marked like{sets_text(1, 2)} are over these sets alone (of a difference:"
        " those that both sides have); such averages are not ranked, and are compared over common sets only. A system"
        " counts on a dataset when all its seeds have scores there.",
    ]


def missing_groups(run: RunData, suites: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """(word, reason) -> the systems and datasets it stands for, as `system on title, title`."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for (suite, dataset, system), cell in run.missing.items():
        if suite in suites:
            some = len(cell.seeds) < len(run.seeds(system))
            title = run.datasets(suite)[dataset]["title"]
            seeds = f" (seed {', '.join(map(str, cell.seeds))})" if some else ""
            found.setdefault((cell.word, cell.reason, suite, system), []).append(f"{title}{seeds}")
    groups: dict[tuple[str, str], list[str]] = {}
    for (word, reason, suite, system), titles in found.items():
        everywhere = 1 < len(titles) == len(run.datasets(suite))
        where = f"every set of suite {suite}" if everywhere else ", ".join(titles)
        groups.setdefault((word, reason), []).append(f"{system} on {where}")
    return groups


def chunks_note(run: RunData, suite: str) -> list[str]:
    """Which systems read a dataset's labels in several passes; [] if none did."""
    found: dict[str, dict[str, int]] = {}
    for _, dataset, system, seed in (cell for cell in run.cells() if cell[0] == suite):
        chunks = (run.card(suite, dataset, system, seed) or {}).get("label_chunks", 1)
        if chunks > 1:
            found.setdefault(system, {})[run.datasets(suite)[dataset]["title"]] = chunks
    if not found:
        return []
    shown = [f"{system} on {', '.join(f'{t} ({k})' for t, k in chunks.items())}" for system, chunks in found.items()]
    return [
        "Labels in so many chunks, since one sequence does not hold them all: labels of different chunks are scored in"
        f" different passes, as the family's own package does it: {'; '.join(shown)}."
    ]
