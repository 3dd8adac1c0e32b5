"""All findings about photos with several labels each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlcli.arrays import Indices
from tlcli.core.data.label_sets import join_labels
from tlcli.core.final_layer.multi_label.marked import Bools
from tlcli.core.photos.checking import (
    FEW,
    NEAREST_SHOWN,
    Compared,
    LabelFindings,
    Photos,
    find,
    note_on_shortcut,
    notes_on_numbers,
)
from tlcli.core.photos.findings import Findings, Note, WrongMark
from tlcli.core.photos.multi_label.wrong_marks import DOUBTED, mark_doubts
from tlcli.core.photos.shortcuts import shortcuts
from tlcli.text import counted


@dataclass(frozen=True)
class MarkedPhotos:
    """Photos with several labels each.

    Attributes:
        photos: whose ``labels`` are the different sets of labels, each as one text, and whose
            ``targets`` are indices of these.
        names: of the labels, [L].
        marks: which photo has which label, bool [N, L].
    """

    photos: Photos
    names: Sequence[str]
    marks: Bools

    def text(self, marks: Bools) -> str:
        """Return the labels of one photo [L] as one text."""
        return join_labels(self.names[label] for label in np.flatnonzero(marks).tolist())


def sets_of(texts: Sequence[str]) -> tuple[tuple[str, ...], Indices]:
    """Return the different texts, and the index of each of N texts among them."""
    known = {text: place for place, text in enumerate(sorted(set(texts)))}
    return tuple(known), np.array([known[text] for text in texts], np.intp)


def find_marked(
    marked: MarkedPhotos, unreadable: Sequence[tuple[str, str]] = (), *, crops: bool = True
) -> Findings:
    """Return what is found in photos with several labels each.

    Args:
        marked: of at least one label.
        unreadable: (path, reason) of files that could not be read.
        crops: look for crops and mirror images too, which takes most of the time.

    Raises:
        DataError: vectors too large to square.
    """
    about_labels = LabelFindings(
        lambda _, compared: _wrong_marks(marked, compared), lambda _: _notes(marked)
    )
    found = find(marked.photos, unreadable, crops=crops, about_labels=about_labels)
    wrong = [each for each in found.wrong_labels if isinstance(each, WrongMark)]
    numbers = Counter((each.doubted, each.has) for each in wrong)
    doubted = {name: (numbers[name, True], numbers[name, False]) for name in marked.names}
    return replace(found, labels=len(marked.names), doubted=doubted)


def _wrong_marks(marked: MarkedPhotos, compared: Compared) -> Iterator[WrongMark]:
    marks, paths = marked.marks[compared.rows], marked.photos.paths
    near = compared.near
    found = mark_doubts(compared.turned, marks, near, DOUBTED)
    for row, label, score, votes in zip(
        found.rows.tolist(), found.labels.tolist(), found.scores, found.votes.tolist(), strict=True
    ):
        changed = marks[row].copy()
        changed[label] = not changed[label]
        # What the photo would look like if it were labelled as proposed.
        alike = [each for each in near.rows[row] if marks[each, label] == changed[label]]
        yield WrongMark(
            paths[compared.rows[row]],
            marked.text(marks[row]),
            marked.text(changed),
            float(score),
            votes,
            near.rows.shape[1],
            tuple(paths[compared.rows[each]] for each in alike[:NEAREST_SHOWN]),
            marked.names[label],
            bool(marks[row, label]),
        )


def _notes(marked: MarkedPhotos) -> Iterator[Note]:
    marks, names = marked.marks, marked.names
    counts = marks.sum(axis=0)
    yield from notes_on_numbers(names, counts)
    for label in np.argsort(-counts, kind="stable").tolist():
        without = len(marks) - int(counts[label])
        if without >= FEW:
            break
        is_or_are = "is" if without == 1 else "are"
        text = f"{counted(without, 'photo')} {is_or_are} without {names[label]}"
        yield Note("few", names[label], f"{text}; {FEW} are a workable minimum.")
    if marked.photos.facts is None:
        return
    for label, name in enumerate(names):
        # Photos without the label are the other label.
        for each in shortcuts(marked.photos.facts, marks[:, label].astype(np.intp), 2):
            if each.label:
                yield note_on_shortcut(name, each)
