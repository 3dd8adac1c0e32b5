"""Findings about photos as a page shows them: the first of each kind with pictures and links."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from tlcli.core.photos.findings import NO_LABEL, Findings, Note
from tlcli.report.collect import file_link, pictures


@dataclass(frozen=True)
class ShownPhoto:
    """A photo with its picture as a data URI and its address, or None."""

    name: str
    thumbnail: str | None
    link: str | None


@dataclass(frozen=True)
class ShownFinding:
    """Photos that belong to one finding, and what is to be said of them.

    Attributes:
        photos: the photo itself first.
        label: of the photo.
        proposed: the label that it looks like, "" where that is not the question.
        reason: in a few words.
        score: of the doubt, None where there is none.
    """

    photos: list[ShownPhoto]
    label: str
    reason: str
    proposed: str = ""
    score: float | None = None


@dataclass(frozen=True)
class YourPhotos:
    """Findings as a page shows them, the first of each kind.

    Attributes:
        counts: how many there are of each kind.
        straddling: pairs of copies that are in two splits.
        wrong_labels, copies, odd: with pictures.
        films: first and last path and number of photos.
        notes: on labels.
    """

    counts: dict[str, int]
    straddling: int
    wrong_labels: list[ShownFinding] = field(default_factory=list)
    copies: list[ShownFinding] = field(default_factory=list)
    odd: list[ShownFinding] = field(default_factory=list)
    films: list[tuple[str, str, int]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(self.counts.values())


def your_photos(found: Findings, page: Path | None, most: int, nearest: int) -> YourPhotos:
    """Return findings with the pictures of the first ones.

    Args:
        found: by a check.
        page: where the page will be; None: there are no links.
        most: of each kind that is shown.
        nearest: pictures beside a photo with a doubted label.
    """

    @functools.cache
    def photo(path: str) -> ShownPhoto:
        return ShownPhoto(path, pictures(path)[0], None if page is None else file_link(path, page))

    return YourPhotos(
        found.counts(),
        found.straddling,
        wrong_labels=[
            ShownFinding(
                [photo(path) for path in (each.path, *each.nearest[:nearest])],
                *(each.label or NO_LABEL, each.reason, each.proposed or NO_LABEL, each.score),
            )
            for each in found.wrong_labels[:most]
        ],
        copies=[
            ShownFinding(
                [photo(path) for path in each.paths], each.labels[0] or NO_LABEL, each.reason
            )
            for each in found.copies[:most]
        ],
        odd=[
            ShownFinding([photo(each.path)], each.label or NO_LABEL, each.reason)
            for each in found.odd[:most]
        ],
        films=[(each[0], each[-1], len(each)) for each in found.films[:most]],
        notes=list(found.notes[:most]),
    )
