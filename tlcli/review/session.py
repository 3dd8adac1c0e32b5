"""A review: the cards of a check, what was decided about them, and checking again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.check.journal import Change, Journal
from tlcli.check.moving import absolute
from tlcli.errors import TlcliError
from tlcli.review.cards import KINDS, Card
from tlcli.review.places import Places

PAGE = 20
"""Cards of one page."""
CHANGES = "changes"
"""The kind of the list of what was changed, beside `KINDS`."""


class ConflictError(TlcliError):
    """A decision about something that is not as its window shows it."""


@dataclass(frozen=True)
class Checked:
    """What a check gave.

    Attributes:
        cards: the findings about photos.
        notes: sentences about labels.
        photos: how many there are.
        places: of the photos.
    """

    cards: Sequence[Card]
    notes: Sequence[str]
    photos: int
    places: Places


@dataclass(frozen=True)
class Decision:
    """What a window asks for.

    Attributes:
        check: of which the window shows the cards.
        card: number of the card.
        photo: index of the photo in the card; None for the card as a whole.
        action: "keep", "move", "remove" or "undo".
        label: to move it to.
        seen: number of the last change that the window shows of the photo or card; 0 for none.
    """

    check: str
    card: int
    photo: int | None
    action: str
    label: str
    seen: int


class Review:
    """The state of a review; its methods are called by one thread at a time.

    Args:
        found: by the first check.
        check: checks again; it is given a function that it reports its stages to.
        journal: of the folder for removed photos.

    Attributes:
        checking: the stage of a running check; None where none runs.
        problem: why the last check failed, or "".
    """

    def __init__(
        self,
        found: Checked,
        check: Callable[[Callable[[str], None]], Checked],
        journal: Journal,
    ) -> None:
        self._check = check
        self._journal = journal
        self.checking: str | None = None
        self.problem = ""
        self._take(found)

    @property
    def id(self) -> str:
        """Name of the present check; cards of another one are refused."""
        return self._id

    @property
    def places(self) -> Places:
        """Where photos can be moved."""
        return self._checked.places

    def check_again(self) -> Checked | None:
        """Check the photos again, in any thread; return None where that fails.

        Decisions are refused from when `checking` is set until `finish` is called.
        """
        try:
            found = self._check(self._stage)
            self.problem = ""
        except TlcliError as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = f"unexpected {type(error).__name__}: {error}"
        else:
            return found
        return None

    def finish(self, found: Checked | None) -> None:
        """Show what `check_again` returned."""
        self.checking = None
        if found is not None:
            self._journal.refresh()
            self._take(found)

    def _stage(self, text: str) -> None:
        self.checking = text

    def _take(self, found: Checked) -> None:
        self._checked = found
        self._id = secrets.token_hex(8)
        changes = self._journal.changes()
        # A path that was moved from earlier holds another photo now.
        self._since = max((each.number for each in changes), default=0)
        kept = {each.kept for each in changes if each.kept}
        self._cards = [card for card in found.cards if _name(card) not in kept]
        self._kept_before = len(found.cards) - len(self._cards)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of findings and changes."""
        moves, kept = self._moves(), self._kept()
        kinds = []
        for kind, title in KINDS.items():
            cards = [card for card in self._cards if card.kind == kind]
            undecided = sum(not self._is_decided(card, moves, kept) for card in cards)
            kinds.append({"kind": kind, "title": title, "count": len(cards), "open": undecided})
        changes = self._journal.changes()
        kinds.append({"kind": CHANGES, "title": "Changes", "count": len(changes), "open": 0})
        return {
            "check": self._id,
            "kinds": kinds,
            "moved": sum(not each.kept for each in changes),
            "moved_since": len(moves),
            "kept_before": self._kept_before,
            "photos": self._checked.photos,
            "notes": list(self._checked.notes),
            "checking": self.checking,
            "problem": self.problem,
        }

    def page(self, kind: str, number: int) -> dict[str, Any]:
        """Return one page of a kind of cards, or of the changes; pages are counted from 0."""
        self._journal.refresh()
        changes = self._journal.changes()[::-1] if kind == CHANGES else []
        cards = [(at, card) for at, card in enumerate(self._cards) if card.kind == kind]
        pages = max(1, -(-(len(changes) or len(cards)) // PAGE))
        number = min(number, pages - 1)
        part = slice(number * PAGE, (number + 1) * PAGE)
        rows = [*self._shown(cards[part]), *self._changed(changes[part])]
        return {**self.summary(), "kind": kind, "page": number, "pages": pages, "cards": rows}

    def decide(self, asked: Decision) -> str:
        """Do what a window asks for and return a sentence about it.

        Raises:
            ConflictError: another window was faster.
            OutputError: a file cannot be moved.
        """
        card = self._card(asked.check, asked.card)
        if self.checking is not None:
            raise ConflictError("the photos are being checked; wait until that is done")
        if asked.photo is None:
            return self._decide_card(card, asked)
        if not 0 <= asked.photo < len(card.paths):
            raise ConflictError("there is no such photo")
        first = absolute(card.paths[asked.photo])
        name = first.name
        if asked.action == "undo":
            self._journal.refresh()
            self._check_seen(first, asked.seen)
            self._journal.undo(asked.seen)
            return f"{name} is back in its place"

        def target() -> Path:
            # Now no other process moves anything.
            now = self._check_seen(first, asked.seen)
            return places.removed(now) if asked.action == "remove" else places.in_label(now, label)

        places, label = self.places, asked.label
        now, _ = self._now(first, self._moves())
        moved = self._journal.move(now, target)
        where = "removed" if asked.action == "remove" else f"moved to {label}"
        return f"{name} was {where}" + (f" as {moved.name}" if moved.name != name else "")

    def undo(self, number: int) -> str:
        """Undo a change of any time and return a sentence about it.

        Raises:
            OutputError: it cannot be undone.
        """
        change = self._journal.undo(number)
        return f"{_file_of(change)} is " + ("open again" if change.kept else "back in its place")

    def picture(self, check: str, card: int, photo: int) -> Path:
        """Return where a photo of a card is now; those to compare with follow its own.

        Raises:
            ConflictError: there is no such photo.
        """
        found = self._card(check, card)
        paths = (*found.paths, *found.near)
        if not 0 <= photo < len(paths):
            raise ConflictError("there is no such photo")
        return self._now(absolute(paths[photo]), self._moves())[0]

    def changed_picture(self, number: int) -> Path:
        """Return where a photo that was moved is now.

        Raises:
            ConflictError: there is no such change.
        """
        for change in self._journal.changes():
            if change.number == number:
                return change.target or Path(change.kept[1])
        raise ConflictError("there is no such change")

    def _card(self, check: str, number: int) -> Card:
        if check != self._id or not 0 <= number < len(self._cards):
            raise ConflictError("the photos were checked again meanwhile; this window was behind")
        return self._cards[number]

    def _decide_card(self, card: Card, asked: Decision) -> str:
        self._journal.refresh()
        name = _name(card)
        if self._kept().get(name, 0) != asked.seen:
            raise ConflictError("this was decided in another window")
        if asked.action == "undo":
            self._journal.undo(asked.seen)
            return f"{Path(name[1]).name} is open again"
        self._journal.keep(name)
        return f"{Path(name[1]).name} is kept as it is"

    def _check_seen(self, path: Path, seen: int) -> Path:
        now, number = self._now(path, self._moves())
        if number != seen:
            raise ConflictError("this photo was changed in another window")
        return now

    def _moves(self) -> dict[Path, Change]:
        """Return the moves since the check by where they began."""
        found = self._journal.changes()
        return {each.source: each for each in found if each.source and each.number > self._since}

    def _kept(self) -> dict[tuple[str, ...], int]:
        return {each.kept: each.number for each in self._journal.changes() if each.kept}

    def _now(self, path: Path, moves: dict[Path, Change]) -> tuple[Path, int]:
        """Return where a photo of the check is now, and the number of its last move; 0 for none."""
        number = 0
        while (change := moves.get(path)) is not None and change.number > number:
            assert change.target is not None
            path, number = change.target, change.number
        return path, number

    def _is_decided(
        self, card: Card, moves: dict[Path, Change], kept: dict[tuple[str, ...], int]
    ) -> bool:
        return _name(card) in kept or any(absolute(path) in moves for path in card.paths)

    def _shown(self, cards: Sequence[tuple[int, Card]]) -> Iterator[dict[str, Any]]:
        moves, kept = self._moves(), self._kept()
        for number, card in cards:
            photos = [
                self._photo(path, proposed, moves)
                for path, proposed in zip(card.paths, card.proposed, strict=True)
            ]
            yield {
                "card": number,
                "reason": card.reason,
                "photos": photos,
                "near": [self._photo(path, "", moves) for path in card.near],
                "more": card.more,
                "kept": kept.get(_name(card), 0),
            }

    def _photo(self, path: str, proposed: str, moves: dict[Path, Change]) -> dict[str, Any]:
        first = absolute(path)
        now, seen = self._now(first, moves)
        return {
            "name": self.places.shown(first),
            "file": first.name,
            "label": self.places.label(first),
            "proposed": proposed,
            "seen": seen,
            "now": self._place(now) if seen else "",
        }

    def _place(self, path: Path) -> str:
        """Return where a moved photo is, in a few words."""
        label = self.places.label(path)
        return f"moved to {label}" if label else f"removed to {path.parent}"

    def _changed(self, changes: Sequence[Change]) -> Iterator[dict[str, Any]]:
        for change in changes:
            path = change.source or Path(change.kept[1])
            yield {
                "change": change.number,
                "name": self.places.shown(path),
                "file": path.name,
                "text": "kept as it is" if change.target is None else self._place(change.target),
                "kind": KINDS.get(change.kept[0], "") if change.kept else "",
            }


def _name(card: Card) -> tuple[str, ...]:
    """Return what a decision to keep a card is remembered by."""
    return (card.kind, *(os.fspath(absolute(path)) for path in card.paths))


def _file_of(change: Change) -> str:
    return (change.source or Path(change.kept[1])).name
