"""What was measured, kept in a file from which a later run resumes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

from benchmarks.accuracy.comparison import Outcome, joined

Place = tuple[str, int | None]
"""Collection, and images per label (None: all)."""
Key = tuple[str, int | None, str]
"""Collection, images per label and recipe."""


class Results:
    """Outcomes by place, recipe and seed.

    Args:
        path: of the file, which may not exist yet; None: nothing is kept. It is read with pickle,
            so it must be one that this program wrote.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[tuple[Key, int], Outcome] = {}
        if path is not None and path.exists():
            self._found = pickle.loads(path.read_bytes())

    def __contains__(self, key: tuple[Key, int]) -> bool:
        return key in self._found

    def add(self, key: Key, seed: int, outcome: Outcome) -> None:
        """Keep an outcome; a run that is killed leaves the file whole."""
        self._found[key, seed] = outcome
        if self._path is not None:
            beside = self._path.with_name(f"{self._path.name}.part")
            beside.write_bytes(pickle.dumps(self._found))
            beside.replace(self._path)

    def outcomes(self) -> Mapping[Key, Outcome]:
        """Return the outcomes over all seeds from 0 on that were measured."""
        seeds: dict[Key, list[Outcome]] = {}
        for (key, seed), outcome in sorted(self._found.items(), key=lambda item: item[0][1]):
            if seed == len(seeds.setdefault(key, [])):
                seeds[key].append(outcome)
        return {key: joined(found) for key, found in seeds.items() if found}
