from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tlcli.core.final_layer.checkpoint import Checkpoint, fit_digest
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdFit, SgdSettings, SgdState, fit_sgd
from tlcli.errors import OutputError

SAMPLES = Samples(
    np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32), np.arange(30) % 3
)


def a_state(steps: int = 5) -> SgdState:
    return SgdState(steps, np.full((6, 3), 0.25, np.float32), np.arange(3, dtype=np.float32))


def test_saved_state_is_loaded(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.1", "d")
    assert checkpoint.load(10, 6, 3) is None
    checkpoint.save(a_state())
    assert [path.name for path in tmp_path.iterdir()] == ["run.1.npz"]
    loaded = Checkpoint(tmp_path / "run.1", "d").load(10, 6, 3)
    assert loaded is not None
    assert loaded.steps_done == 5
    np.testing.assert_array_equal(loaded.weights, a_state().weights)
    np.testing.assert_array_equal(loaded.biases, a_state().biases)


def test_a_cut_fit_ends_with_the_bits_of_an_uncut_one(tmp_path: Path) -> None:
    settings = SgdSettings(steps=90)
    checkpoint = Checkpoint(tmp_path / "c", fit_digest(SAMPLES, 3, settings))

    def interrupt(state: SgdState) -> None:
        if state.steps_done == 41:
            raise KeyboardInterrupt

    fit = SgdFit(SAMPLES, 3, settings)
    with pytest.raises(KeyboardInterrupt):
        fit.run(on_step=interrupt)
    checkpoint.save(fit.state)
    resumed = fit_sgd(SAMPLES, 3, settings, start=checkpoint.load(90, 6, 3))
    assert resumed.weights.tobytes() == fit_sgd(SAMPLES, 3, settings).weights.tobytes()


def test_a_finished_fit_takes_more_steps(tmp_path: Path) -> None:
    short, long = SgdSettings(steps=30), SgdSettings(steps=80)
    fit = SgdFit(SAMPLES, 3, short)
    fit.run()
    Checkpoint(tmp_path / "c", fit_digest(SAMPLES, 3, short)).save(fit.state)
    start = Checkpoint(tmp_path / "c", fit_digest(SAMPLES, 3, long)).load(80, 6, 3)
    assert start is not None
    resumed = fit_sgd(SAMPLES, 3, long, start=start)
    assert resumed.weights.tobytes() == fit_sgd(SAMPLES, 3, long).weights.tobytes()


def test_more_steps_than_asked_for_start_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoint(tmp_path / "c", "d").save(a_state(500))
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert Checkpoint(tmp_path / "c", "d").load(100, 6, 3) is None
    assert "500 steps and 100 were asked for" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty", "folder", "pickle", "nan"])
def test_damaged_checkpoint_starts_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Checkpoint(tmp_path / "c", "d")
    state = a_state()
    if damage == "nan":
        state.weights[0, 0] = np.nan
    checkpoint.save(state)
    data = checkpoint.path.read_bytes()
    if damage == "cut":
        checkpoint.path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        # A byte inside the weights' values.
        at = data.index(np.full(4, 0.25, np.float32).tobytes())
        checkpoint.path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    elif damage == "text":
        checkpoint.path.write_text("no archive")
    elif damage == "empty":
        checkpoint.path.write_bytes(b"")
    elif damage == "pickle":
        np.savez(checkpoint.path, format=np.array([object()], dtype=object))
    elif damage == "folder":
        checkpoint.path.unlink()
        checkpoint.path.mkdir()
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert Checkpoint(tmp_path / "c", "d").load(100, 6, 3) is None
    assert len(caplog.records) == 1
    assert "training starts from the first step" in caplog.text


def test_foreign_checkpoint_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Checkpoint(tmp_path / "c", "d").save(a_state())
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert Checkpoint(tmp_path / "c", "e").load(100, 6, 3) is None
        assert Checkpoint(tmp_path / "c", "d").load(100, 6, 4) is None
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
        "it is of other images, labels, seed, learning rate or batch size",
        "its content is damaged",
    ]


def test_digest_follows_what_decides_the_steps() -> None:
    settings = SgdSettings()
    digest = fit_digest(SAMPLES, 3, settings)
    assert digest == fit_digest(SAMPLES, 3, SgdSettings(steps=7, eval_step_interval=3))
    vectors = SAMPLES.vectors.copy()
    vectors[3, 3] = np.nextafter(vectors[3, 3], np.float32(9))
    labels = SAMPLES.labels.copy()
    labels[0] = 1
    others = [
        fit_digest(Samples(vectors, SAMPLES.labels), 3, settings),
        fit_digest(Samples(SAMPLES.vectors, labels), 3, settings),
        fit_digest(SAMPLES, 4, settings),
        fit_digest(SAMPLES, 3, SgdSettings(seed=1)),
        fit_digest(SAMPLES, 3, SgdSettings(learning_rate=0.02)),
        fit_digest(SAMPLES, 3, SgdSettings(train_batch_size=-1)),
    ]
    assert len({digest, *others}) == 7


def test_digest_of_rows_is_that_of_a_copy_of_them() -> None:
    rows = np.arange(29, -1, -2)
    chosen = Samples(SAMPLES.vectors, SAMPLES.labels[rows], rows)
    copied = Samples(SAMPLES.vectors[rows], SAMPLES.labels[rows])
    assert fit_digest(chosen, 3, SgdSettings(), 4) == fit_digest(copied, 3, SgdSettings(), 7)
    odd = np.arange(30) % 2 == 1
    np.testing.assert_array_equal(SAMPLES.subset(odd).gathered(1, 4), SAMPLES.vectors[3:8:2])
    np.testing.assert_array_equal(chosen.subset(odd[:15]).gathered(), copied.vectors[1::2])


def test_saves_only_when_due(tmp_path: Path) -> None:
    now = [100.0]
    checkpoint = Checkpoint(tmp_path / "c", "d", clock=lambda: now[0])
    checkpoint.save_when_due(a_state(1))
    assert not checkpoint.path.exists()
    now[0] += 1.1
    checkpoint.save_when_due(a_state(2))
    now[0] += 0.5
    checkpoint.save_when_due(a_state(3))
    loaded = checkpoint.load(100, 6, 3)
    assert loaded is not None
    assert loaded.steps_done == 2


def test_a_path_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Checkpoint(tmp_path / "file" / "c", "d").save(a_state())
