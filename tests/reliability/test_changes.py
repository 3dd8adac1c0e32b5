"""Images that change, vanish and lie about their age; several processes at once."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.reliability import harness
from tests.reliability.retrainings import Bench, Workplace
from tlcli.core.data.content_hashes import hash_file

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("TLCLI_FAULTS_SEED", 0))


def moved(arguments: list[str], photos: Path) -> list[str]:
    """Return the arguments with another image folder."""
    found = list(arguments)
    found[found.index("--image_dir") + 1] = str(photos)
    return found


def test_images_changed_and_deleted_while_retrain_runs(
    bench: Bench, shared: Path, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    others = sorted((shared / "flowers" / "photos" / "dandelion").iterdir())
    skipped = 0
    for number in range(max(1, harness.tries(3) // 4)):
        place = bench.workplace(30_000 + number)
        photos = place.folder / "photos"
        shutil.copytree(bench.folder / "new_photos", photos)
        arguments = moved(bench.new.arguments, photos)
        arguments.remove("--quiet")
        command = [harness.COMMAND, *arguments]
        environment = harness.environment(place.cache, place.temporary)
        with harness.started(command, place.folder, env=environment) as process:
            harness.wait(process, chance.uniform(0, 0.7 * bench.new.seconds))
            for photo in chance.sample(sorted(photos.rglob("*.jpg")), 15):
                if chance.random() < 0.5:
                    photo.unlink()
                else:
                    photo.write_bytes(chance.choice(others).read_bytes())
                time.sleep(0.005)
            code = process.wait()
        said = (place.folder / "killed.err").read_text()
        assert "Traceback" not in said
        assert code == 0 or (code == 1 and "Error: " in said), (code, said)
        skipped += said.count("is skipped")
        # Whatever the run met: afterwards the folder gives what it gives to a new cache.
        done = harness.run(arguments, place.folder, place.cache, place.temporary)
        fresh = place.folder / "fresh"
        fresh.mkdir()
        again = harness.run(arguments, fresh, place.folder / "fresh_cache")
        assert (done.code, again.code) == (0, 0), done.err + again.err
        for name in harness.EXACT:
            assert harness.digest(place.folder / "out" / name) == harness.digest(
                fresh / "out" / name
            )
        kept, true = harness.vectors_in(place.cache), bench.new.vectors
        true = {**true, **harness.vectors_in(place.folder / "fresh_cache")}
        # A photo that was there for a while only has no vector to compare with.
        assert sum(key in true for key in kept) >= 21
        assert all(kept[key] == true[key] for key in kept if key in true)
        place.remove()
    print(f"\nimages skipped because they changed or vanished: {skipped}")


def test_times_of_files_decide_nothing(bench: Bench) -> None:
    place = bench.workplace(31_000)
    photos = place.folder / "photos"
    shutil.copytree(bench.folder / "new_photos", photos)
    arguments = moved(bench.new.arguments, photos)
    files = sorted(photos.rglob("*.jpg"))
    for seconds in (-(2**31), 0, 4_102_444_800, None):
        for file in files:
            os.utime(file, None if seconds is None else (seconds, seconds))
        done = harness.run(arguments, place.folder, place.cache)
        assert done.code == 0, done.err
        assert {
            name: harness.digest(place.folder / "out" / name) for name in harness.EXACT
        } == bench.new.files
    assert done.json["cache"]["computed"] == 0
    # A changed image whose size and time are set back as they were is seen all the same.
    file = files[0]
    state, data = file.stat(), bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    done = harness.run(arguments, place.folder, place.cache)
    assert done.json["cache"]["computed"] == 1
    assert hash_file(file)[0] in {content for _, _, content in harness.vectors_in(place.cache)}
    place.remove()


_OTHER_CLOCK = """
import sys, time
offset, now, now_ns = int(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: now() + offset
time.time_ns = lambda: now_ns() + offset * 10**9
from tlcli.cli import main
main()
"""


def test_a_clock_that_jumps_changes_nothing(bench: Bench) -> None:
    place = bench.workplace(32_000)
    years = 365 * 24 * 3600
    for turn, offset in enumerate((0, -20 * years, 50 * years, -3600)):
        done = subprocess.run(
            [sys.executable, "-c", _OTHER_CLOCK, str(offset), *bench.new.arguments],
            cwd=place.folder,
            env=harness.environment(place.cache, place.temporary),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ('"computed": 0' in done.stdout) == (turn > 0)
        assert {
            name: harness.digest(place.folder / "out" / name) for name in harness.EXACT
        } == bench.new.files
    place.check_after_the_rerun(at_least=len(bench.new.vectors))
    place.remove()


def test_four_retrainings_and_a_reader_at_once(bench: Bench) -> None:
    """One cache and one output folder for all; each reading is of one version, whole."""
    met = {"old": 0, "new": 0}
    for number in range(max(1, harness.tries(1) // 12)):
        place = bench.workplace(33_000 + number)
        outs: list[harness.Finished] = []

        def retrain(place: Workplace, outs: list[harness.Finished]) -> None:
            outs.append(
                harness.run(bench.new.arguments, place.folder, place.cache, place.temporary)
            )

        threads = [threading.Thread(target=retrain, args=(place, outs)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            scores = harness.scores_of(place.folder / "out" / harness.GRAPH, bench.probes)
            is_old = harness.same_scores(scores, bench.old.scores)
            assert is_old or harness.same_scores(scores, bench.new.scores)
            met["old" if is_old else "new"] += 1
        for thread in threads:
            thread.join()
        assert [done.code for done in outs] == [0] * 4, [done.err for done in outs]
        caches = [done.json["cache"] for done in outs]
        count = len(bench.new.vectors)
        assert all(cache["hits"] + cache["computed"] == count for cache in caches)
        assert count <= sum(cache["computed"] for cache in caches) <= 4 * count
        place.check_after_the_rerun(at_least=count)
        place.remove()
    print(f"\nreadings while four retrainings ran: {met}")


def test_four_labellings_at_once_answer_the_same(bench: Bench, tmp_path: Path) -> None:
    graph = bench.new.folder / "out" / harness.GRAPH
    photos = sorted((bench.folder / "new_photos").rglob("*.jpg"))
    command = [harness.COMMAND, "label", "--graph", str(graph), *map(str, photos)]
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, env=harness.environment(tmp_path / "cache")
        )
        for _ in range(4)
    ]
    answers = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len(set(answers)) == 1
    assert answers[0].count(b"score=") == 3 * len(photos)
