"""Two retrainings, one to be replaced by the other, and what must be true after a disturbance."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability.harness import (
    CARD,
    COMMAND,
    EXACT,
    GRAPH,
    LABELS,
    TFLITE,
    Scores,
    copy_photos,
    digest,
    environment,
    leftovers,
    read_card,
    run,
    same_scores,
    scores_of,
    started,
    strays,
    vectors_in,
)


@dataclass
class Version:
    """The outputs of an undisturbed run."""

    folder: Path
    arguments: list[str]
    files: dict[str, str | None]
    scores: list[Scores]
    card: dict[str, Any]
    vectors: dict[tuple[str, str, str], bytes]
    seconds: float
    writing: float


@dataclass
class Bench:
    """Two retrainings with as many labels, of other names: the older output and the newer one.

    Labels of one beside the graph of the other would fit in number and be wrong.
    """

    folder: Path
    probes: list[Path]
    module: list[str]
    old: Version = field(init=False)
    new: Version = field(init=False)

    def prepare(self, shared: Path, count: int) -> None:
        """Draw the photos and run both retrainings undisturbed."""
        copy_photos(
            shared, self.folder / "old_photos", {n: n for n in ("daisy", "roses", "tulips")}, 6
        )
        flowers = {"a rose": "roses", "sunflowers": "sunflowers", "the daisy": "daisy"}
        copy_photos(shared, self.folder / "new_photos", flowers, count)
        self.old = self._undisturbed("old")
        self.new = self._undisturbed("new")
        assert self.old.files[LABELS] != self.new.files[LABELS]
        assert not same_scores(self.old.scores, self.new.scores)

    def _undisturbed(self, name: str) -> Version:
        folder, cache = (
            self.folder / "reference" / name,
            self.folder / "reference" / f"{name}_cache",
        )
        folder.mkdir(parents=True)
        arguments = [
            "retrain", "--image_dir", str(self.folder / f"{name}_photos"), *self.module,
            "--output_graph", "out/output_graph.pb", "--how_many_training_steps", "200",
            "--export_bottlenecks", "text", "--format", "json", "--quiet",
            # The report takes as long as all the rest.
            *([] if "TLCLI_FAULTS" in os.environ else ["--no_report"]),
        ]  # fmt: skip
        start = time.monotonic()
        done = run(arguments, folder, cache)
        seconds = time.monotonic() - start
        assert done.code == 0, done.err
        stages = done.json["seconds"]
        return Version(
            folder,
            arguments,
            {name: digest(folder / "out" / name) for name in EXACT},
            scores_of(folder / "out" / GRAPH, self.probes),
            read_card(folder / "out" / CARD),
            vectors_in(cache),
            seconds,
            stages["export"] + stages.get("report", 0.0),
        )

    def workplace(self, number: int) -> Workplace:
        """Return a new folder with the older output in place and an empty cache."""
        folder = self.folder / f"try_{number}"
        shutil.copytree(self.old.folder / "out", folder / "out")
        return Workplace(self, folder, folder / "cache", folder / "tmp")


@dataclass
class Workplace:
    """A folder in which one disturbed run happens."""

    bench: Bench
    folder: Path
    cache: Path
    temporary: Path

    def start(self, prefix: Sequence[str] = ()) -> Any:
        """Start the newer retraining (see `started`)."""
        command = [*(prefix or [COMMAND]), *self.bench.new.arguments]
        return started(command, self.folder, env=environment(self.cache, self.temporary))

    def check_after_the_kill(self) -> str:
        """Check that what lies there is the older output or the newer; return which graph is."""
        old, new = self.bench.old, self.bench.new
        out = self.folder / "out"
        present = {name: digest(out / name) for name in EXACT}
        version = {old.files[GRAPH]: old, new.files[GRAPH]: new}.get(present[GRAPH])
        assert version is not None, "the graph is neither the older nor the newer one"
        # For programs that know nothing of cards: the labels of the graph, or none.
        assert present[LABELS] in (version.files[LABELS], None), "labels of another graph"
        assert present[TFLITE] in (old.files[TFLITE], new.files[TFLITE]), "a broken LiteRT file"
        assert same_scores(scores_of(out / GRAPH, self.bench.probes), version.scores)
        other = {old.files[TFLITE]: old, new.files[TFLITE]: new}[present[TFLITE]]
        assert same_scores(scores_of(out / TFLITE, self.bench.probes), other.scores)
        read_card(out / CARD)
        return "old" if version is old else "new"

    def check_after_the_rerun(self, at_least: int = 0) -> int:
        """Run the same command to its end; return how many vectors it found in the cache."""
        new = self.bench.new
        done = run(new.arguments, self.folder, self.cache, self.temporary)
        assert done.code == 0, done.err
        out = self.folder / "out"
        assert {name: digest(out / name) for name in EXACT} == new.files
        assert read_card(out / CARD) == new.card
        assert vectors_in(self.cache) == new.vectors
        hits = int(done.json["cache"]["hits"])
        assert hits >= at_least, "work that was kept was done again"
        assert hits + done.json["cache"]["computed"] == len(new.vectors)
        assert leftovers(self.folder) == []
        assert strays(self.temporary) == []
        assert not list(self.cache.rglob("*.damaged-*"))
        return hits

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)
