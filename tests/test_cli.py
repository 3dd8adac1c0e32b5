"""The group: its help, its speed (by what is not imported), its exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from tlcli.cli import COMMANDS


def tlcli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlcli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_names_every_command() -> None:
    done = tlcli("--help")
    assert done.returncode == 0
    for name, (_, line) in COMMANDS.items():
        assert name in done.stdout
        assert line in " ".join(done.stdout.split())


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert tlcli("--version").stdout == f"tlcli {version('tlcli')}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["retrain", "--help"], ["label", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys, json\n"
        "from tlcli.cli import command\n"
        f"command.main({arguments!r}, 'tlcli', standalone_mode=False)\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stderr)
    heavy = {"numpy", "tensorflow", "PIL", "keras", "tqdm", "google.protobuf", "jinja2"}
    assert not heavy & set(loaded)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_has_help(name: str) -> None:
    command = importlib.import_module(COMMANDS[name][0]).command
    assert command.help
    self_explaining = {
        "how_many_training_steps",
        "learning_rate",
        "print_misclassified_test_images",
        "final_tensor_name",
        "seed",
        "logging_verbosity",
    }
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name not in self_explaining:
            assert parameter.help, parameter.name


def test_an_unknown_command_is_wrong_use_with_a_suggestion() -> None:
    done = tlcli("retrian")
    assert done.returncode == 2
    assert "Did you mean 'retrain'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_wrong_use_with_a_suggestion() -> None:
    done = tlcli("retrain", "--image_dri", "x")
    assert done.returncode == 2
    assert "--image_dir" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retrain", "--steps", "5"], "Did you mean '--how_many_training_steps'?"),
        (
            ["retrain", "--model", "x"],
            "Did you mean '--module', ",
        ),
        (["label", "--output", "x"], "Did you mean '--output_layer'?"),
        (["retrain", "photos"], "'photos' belongs to no option; the folder that holds"),
        (["retrain", "--image_dir", "a", "b", "c"], "'b' and 1 more belong to no option"),
        (["evaluate", "--image_dir", "a", "b"], "given as --image_dir DIR"),
        (["retrain", "--output_graph", "out/"], "out/ is the name of a folder"),
        (["label", ""], "the name of an image is empty"),
    ],
)
def test_wrong_use_is_told_what_to_type(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tlcli.cli import command
    from tlcli.terminal import run

    # What a command does to its process is not for that of the tests.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("tlcli.terminal._watch_signals", lambda: None)
    monkeypatch.setattr("tlcli.terminal._keep_signals", lambda: None)
    monkeypatch.setattr("tlcli.terminal.bound_memory", lambda: None)
    monkeypatch.setattr(sys, "argv", ["tlcli", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(command, "tlcli")
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_hyphens_are_taken_for_underscores() -> None:
    done = tlcli("retrain", "--image-dir=/nowhere/at/all")
    assert done.returncode == 1
    assert "/nowhere/at/all" in done.stderr


def test_a_missing_image_dir_is_wrong_use() -> None:
    done = tlcli("retrain")
    assert done.returncode == 2
    assert "--image_dir" in done.stderr


@pytest.mark.parametrize("module", ["retrain", "label"])
def test_the_two_commands_run_alone(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: python -m {module}")


def test_the_public_names_are_exactly_these() -> None:
    import tlcli as package

    assert set(package.__all__) == {
        "Classifier",
        "Prediction",
        "RetrainResult",
        "TlcliError",
        "__version__",
        "errors",
        "load",
        "retrain",
    }
    for name in package.__all__:
        assert getattr(package, name) is not None
