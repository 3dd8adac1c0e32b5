"""Findings as cards: the photos of one finding, with what is proposed for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tlcli.core.photos.findings import CopyPair, Findings
from tlcli.text import counted

KINDS = {
    "wrong_labels": "Probably wrong labels",
    "copies": "Near copies",
    "odd": "Odd photos",
    "unreadable": "Unreadable files",
    "films": "Perhaps frames of one film",
}
"""The kinds of cards in their order, with their headings."""
# A film may have thousands of frames.
_MOST_PHOTOS = 24


@dataclass(frozen=True)
class Card:
    """One finding.

    Attributes:
        kind: a key of `KINDS`.
        reason: why it is one, as a sentence without its end.
        paths: of the photos that it is about.
        proposed: the label of each photo that it looks like, or that its copy has; "" for none.
        near: photos to compare with.
        more: how many photos are left out.
    """

    kind: str
    reason: str
    paths: tuple[str, ...]
    proposed: tuple[str, ...]
    near: tuple[str, ...] = ()
    more: int = 0


def cards_of(found: Findings) -> list[Card]:
    """Return a card for each finding about photos, the most serious of each kind first."""
    cards = [
        Card("wrong_labels", each.reason, (each.path,), (each.proposed,), each.nearest)
        for each in found.wrong_labels
    ]
    cards += _groups(found)
    cards += [Card("odd", each.reason, (each.path,), ("",)) for each in found.odd]
    cards += [Card("unreadable", reason, (path,), ("",)) for path, reason in found.unreadable]
    for film in found.films:
        shown = film[:_MOST_PHOTOS]
        reason = f"{counted(len(film), 'photo')} that follow one another and look alike"
        more = len(film) - len(shown)
        cards.append(Card("films", reason, shown, ("",) * len(shown), more=more))
    return cards


def _groups(found: Findings) -> Iterator[Card]:
    """Yield one card for all copies of a picture, in the order of their worst pairs."""
    group_of = {path: group for group in found.groups for path in group}
    pairs: dict[tuple[str, ...], list[CopyPair]] = {}
    for pair in found.copies:
        pairs.setdefault(group_of.get(pair.paths[0], pair.paths), []).append(pair)
    for group, members in pairs.items():
        labels = {
            path: label
            for pair in members
            for path, label in zip(pair.paths, pair.labels, strict=True)
        }
        others = {
            label: next((o for o in labels.values() if o != label), "") for label in labels.values()
        }
        shown = group[:_MOST_PHOTOS]
        reasons = dict.fromkeys(pair.reason for pair in members)
        yield Card(
            "copies",
            "; ".join(list(reasons)[:3]),
            shown,
            tuple(others.get(labels.get(path, ""), "") for path in shown),
            more=len(group) - len(shown),
        )
