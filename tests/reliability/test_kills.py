"""A killed command loses seconds of work and nothing else."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.reliability import harness, kills
from tests.reliability.retrainings import Bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems"),
]
MODES = ("anywhere", "extracting", "writing", "committing")
SEED = int(os.environ.get("TLCLI_FAULTS_SEED", 0))


def test_retrain_killed_at_random_moments(bench: Bench) -> None:
    chance = random.Random(SEED)
    seen: Counter[str] = Counter()
    for number in range(harness.tries(4)):
        mode = MODES[number % len(MODES)]
        place = bench.workplace(number)
        kept = kills.kill_retrain(place, mode, chance)
        graph = place.check_after_the_kill()
        hits = place.check_after_the_rerun(at_least=kept)
        seen[f"{mode}: graph {graph}"] += 1
        seen["vectors kept"] += hits
        place.remove()
    print(f"\nretrain killed {harness.tries(4)} times: {dict(sorted(seen.items()))}")


def test_retrain_killed_before_changes_to_files(bench: Bench) -> None:
    place = bench.workplace(10_000)
    changes = kills.count_changes(place)
    place.remove()
    assert changes > 20
    # The last ones are the renames; a short run tries some of these and a few of the others.
    numbers = list(range(1, changes + 1))
    chance, wanted = random.Random(SEED), harness.tries(2)
    early, late = numbers[:-30], numbers[-30:]
    numbers = sorted(chance.sample(early, min(len(early), wanted // 2)))
    numbers += late if wanted >= len(late) else late[-12::6]
    killed, graphs = 0, Counter[str]()
    for number in numbers:
        place = bench.workplace(10_000 + number)
        killed += kills.kill_at_change(place, number)
        graphs[place.check_after_the_kill()] += 1
        place.check_after_the_rerun()
        place.remove()
    print(f"\nretrain killed before {killed} of {changes} changes to files: {dict(graphs)}")
    assert killed >= len(numbers) - 2
    assert set(graphs) == {"old", "new"}


def test_label_killed_at_random_moments(bench: Bench, tmp_path: Path) -> None:
    out = bench.new.folder / "out"
    photos = sorted((bench.folder / "new_photos").rglob("*.jpg"))
    arguments = ["label", "--graph", out / harness.GRAPH, *photos * 10, "--format", "jsonl"]
    start = time.monotonic()
    whole = harness.run(arguments, tmp_path, tmp_path / "cache")
    seconds = time.monotonic() - start
    lines = whole.out.splitlines()
    assert len(lines) == 10 * len(photos)
    before = {path: harness.digest(path) for path in sorted(bench.new.folder.rglob("*"))}
    chance = random.Random(SEED)
    answered = 0
    for _ in range(max(3, harness.tries(9) // 3)):
        command = [harness.COMMAND, *map(str, arguments)]
        with harness.started(
            command, tmp_path, env=harness.environment(tmp_path / "cache", tmp_path / "tmp")
        ) as process:
            harness.wait(process, chance.uniform(0.1, seconds))
            process.kill()
        told = (tmp_path / "killed.out").read_text(encoding="utf-8")
        complete = told[: told.rfind("\n") + 1].splitlines()
        assert complete == lines[: len(complete)]
        answered += len(complete)
        assert harness.strays(tmp_path / "tmp") == []
    assert {path: harness.digest(path) for path in sorted(bench.new.folder.rglob("*"))} == before
    assert harness.run(arguments, tmp_path, tmp_path / "cache").out == whole.out
    print(f"\nlabel killed {max(3, harness.tries(9) // 3)} times, {answered} answers before")


def test_a_fit_killed_goes_on_from_its_checkpoint(shared: Path, tmp_path: Path) -> None:
    common = [
        "retrain", "--import_bottlenecks", shared / "houses" / "bottlenecks",
        "--final_layer_only", "--how_many_training_steps", 10000, "--no_report",
        "--eval_step_interval", 10000,
    ]  # fmt: skip
    start = time.monotonic()
    whole = harness.run([*common, "--output_graph", "whole/g.pb"], tmp_path, tmp_path / "c")
    seconds = time.monotonic() - start
    assert whole.code == 0, whole.err
    chance = random.Random(SEED)
    went_on = []
    for number in range(max(1, harness.tries(6) // 10)):
        arguments = [*common, "--output_graph", "g.pb", "--checkpoint_path", "fit"]
        # A machine that was busy and is no longer may be done too soon.
        for attempt, moment in enumerate((chance.uniform(0, seconds / 2), 0.0)):
            folder = tmp_path / f"cut_{number}_{attempt}"
            folder.mkdir()
            with harness.started(
                [harness.COMMAND, *map(str, arguments)],
                folder,
                env=harness.environment(tmp_path / "c"),
            ) as process:
                while process.poll() is None and not (folder / "fit.npz").exists():
                    time.sleep(0.01)
                harness.wait(process, moment)
                was_cut = process.poll() is None
                process.kill()
            if was_cut:
                break
        done = harness.run(arguments, folder, tmp_path / "c")
        assert done.code == 0, done.err
        assert "goes on at step" in done.err
        went_on.append(int(done.err.split("goes on at step ")[1].split(",")[0]))
        assert harness.digest(folder / "g.pb") == harness.digest(tmp_path / "whole" / "g.pb")
        assert harness.leftovers(folder) == []
    assert min(went_on) > 0
    print(f"\nfits killed and gone on at steps {went_on}")


@pytest.mark.parametrize("command", ["retrain", "label"])
def test_interrupted_at_random_moments(bench: Bench, tmp_path: Path, command: str) -> None:
    chance = random.Random(SEED)
    photos = sorted((bench.folder / "new_photos").rglob("*.jpg"))
    ended: Counter[int] = Counter()
    seconds = 0.8 * bench.new.seconds
    for number in range(max(2, harness.tries(6) // 4)):
        place = bench.workplace(20_000 + number)
        arguments = bench.new.arguments
        if command == "label":
            arguments = ["label", "--graph", "out/output_graph.pb", *map(str, photos * 40)]
        environment = harness.environment(place.cache, place.temporary)
        with harness.started([*kills.READY, *arguments], place.folder, env=environment) as process:
            moment = chance.uniform(0, seconds) if number else 0.0
            code = kills.interrupt(process, place.folder, moment)
        said = (place.folder / "killed.err").read_text().splitlines()[1:]
        ended[code] += 1
        assert code in (0, 130), said
        assert not any("Traceback" in line for line in said)
        assert harness.leftovers(place.folder) == []
        assert harness.strays(place.temporary) == []
        graph = place.check_after_the_kill()
        if code == 130:
            # click ends the line that a terminal shows "^C" in.
            assert [line.split()[0] for line in said if line] == ["Interrupted."]
            # A command that is interrupted while it renames its outputs ends that first.
            left = [place.folder / "out" / name for name in harness.EXACT]
            version = bench.old if graph == "old" else bench.new
            assert [harness.digest(path) for path in left] == list(version.files.values())
        if command == "retrain":
            place.check_after_the_rerun()
        place.remove()
    print(f"\n{command} interrupted, exit codes: {dict(ended)}")
    assert ended[130]
