"""The tables of docs/accuracy.md, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy.comparison import (
    Difference,
    Outcome,
    difference,
    is_worse,
    mean_difference,
)
from benchmarks.accuracy.data import PHOTOS
from benchmarks.accuracy.results import Key, Place
from benchmarks.tables import fill, table

BASE = "original"
MARK = "presets"
"""Name of the marks in the document between which the tables are written."""
_HEADINGS = {"best": "`best`, not fine-tuned"}


class Report:
    """Accuracy of all recipes, each compared with `BASE` on the same images."""

    def __init__(self, outcomes: Mapping[Key, Outcome], recipes: Sequence[str]) -> None:
        """Compare ``outcomes`` of ``recipes``, those of which there is one in this order."""
        self._outcomes = outcomes
        kept = [(name, per_label) for name, per_label, recipe in outcomes if recipe == BASE]
        names = [*PHOTOS, *dict.fromkeys(name for name, _ in kept)]
        levels = [2, 5, 10, None]
        self._places: list[Place] = sorted(
            kept, key=lambda place: (names.index(place[0]), levels.index(place[1]))
        )
        self._names = [name for name in recipes if any(key[2] == name for key in outcomes)]
        self._found = {
            (*place, name): difference(outcomes[(*place, name)], outcomes[(*place, BASE)])
            for place in self._places
            for name in self._names
            if name != BASE and (*place, name) in outcomes
        }

    def __str__(self) -> str:
        """Return all as Markdown."""
        verdicts = "\n".join(f"- {self._verdict(name)}" for name in self._names if name != BASE)
        return "\n\n".join((self._accuracies(), verdicts, self._times(), self._machine()))

    def _accuracies(self) -> str:
        rows = [self._row(place) for place in self._places]
        for per_label in dict.fromkeys(place[1] for place in self._places):
            here = [place for place in self._photos() if place[1] == per_label]
            if here:
                rows.append(self._mean_row(per_label, here))
        header = ["data", "images per label", *map(_heading, self._names)]
        return table(header, rows, right=2)

    def _row(self, place: Place) -> list[str]:
        row = [place[0], _level(place[1]), f"{self._outcomes[(*place, BASE)].accuracy:.1f}"]
        for name in self._names:
            if name != BASE:
                found = self._found.get((*place, name))
                row.append("" if found is None else found.text)
        return row

    def _mean_row(self, per_label: int | None, places: Sequence[Place]) -> list[str]:
        mean = statistics.mean(self._outcomes[(*place, BASE)].accuracy for place in places)
        row = ["**mean of the photos**", _level(per_label), f"{mean:.1f}"]
        for name in self._names:
            if name != BASE:
                found = self._of(name, places)
                row.append(mean_difference(found).text if len(found) == len(places) else "")
        return row

    def _photos(self) -> list[Place]:
        return [place for place in self._places if place[0] in PHOTOS]

    def _of(self, name: str, places: Sequence[Place]) -> list[Difference]:
        return [self._found[(*place, name)] for place in places if (*place, name) in self._found]

    def _verdict(self, name: str) -> str:
        photos, everything = self._of(name, self._photos()), self._of(name, self._places)
        text = f"{_heading(name)}: {mean_difference(everything).text} points on average"
        if photos and len(photos) < len(everything):
            text += f", {mean_difference(photos).text} over the rows of photos"
        worse = [
            f"{place[0]} with {_level(place[1])} ({self._found[(*place, name)].text})"
            for place in self._places
            if (*place, name) in self._found and is_worse(self._found[(*place, name)])
        ]
        where = f"in {'; '.join(worse)}" if worse else "in no row"
        return f"{text}; worse by more than half a point beyond twice the standard error {where}."

    def _times(self) -> str:
        rows = []
        for place in self._places:
            if place[1] is None:
                found = [self._outcomes.get((*place, name)) for name in self._names]
                rows.append([place[0], *(f"{each.seconds:.2f}" if each else "" for each in found)])
        header = ["seconds per fit, all images", *map(_heading, self._names)]
        return table(header, rows)

    def _machine(self) -> str:
        from tlcli.system.machine import processor, versions

        found = versions()
        named = [f"{name} {found[name]}" for name in ("numpy", "tensorflow") if found.get(name)]
        seeds = sorted({len(each.right) for each in self._outcomes.values()})
        divided = " to ".join(str(each) for each in dict.fromkeys((seeds[0], seeds[-1])))
        divisions = "division" if seeds[-1] == 1 else "divisions"
        return (
            f"Measured on {processor()['name']}, in one thread, with {', '.join(named)} and "
            f"scikit-learn {_scikit_version()}; {divided} {divisions} into folds per row."
        )


def _scikit_version() -> str:
    from importlib.metadata import version

    return version("scikit-learn")


def _level(per_label: int | None) -> str:
    return "all" if per_label is None else str(per_label)


def _heading(recipe: str) -> str:
    plain = recipe.startswith("scikit")
    return _HEADINGS.get(recipe, recipe if plain else f"`{recipe}`")


def write_tables(path: Path, report: str) -> None:
    """Replace the tables in the document at ``path``."""
    text = path.read_text(encoding="utf-8")
    path.write_text(fill(text, MARK, f"\n{report}\n"), encoding="utf-8")
