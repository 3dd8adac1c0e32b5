"""The group: its help, its speed (by what is not imported), its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import pytest

from tests.support import commands
from tlcli.cli import COMMANDS, command
from tlcli.commands.options import GroupedCommand


def tlcli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlcli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_has_one_line_per_command() -> None:
    done = tlcli("--help")
    assert done.returncode == 0
    _, _, listed = done.stdout.partition("\nCommands:\n")
    listed = re.sub(r"\n {4,}", " ", listed)  # wrapped lines
    rows = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in listed.strip().splitlines()]
    assert rows == [[name, line] for name, (_, line) in COMMANDS.items()]


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


EVERY_COMMAND = dict(commands(command, "tlcli"))


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_every_command_and_option_has_help(name: str) -> None:
    assert EVERY_COMMAND[name].help
    for parameter in EVERY_COMMAND[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_every_option_of_a_long_help_is_in_one_group(name: str) -> None:
    found = EVERY_COMMAND[name]
    options = [each.name for each in found.params if isinstance(each, click.Option)]
    if not isinstance(found, GroupedCommand):
        assert len(options) <= 8
        return
    grouped = [option for names in found.groups.values() for option in names]
    assert sorted(grouped) == sorted(options)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["retrain", "label", "evaluate", "serve"])
def test_the_descriptions_of_all_groups_are_aligned(name: str, width: int) -> None:
    found = EVERY_COMMAND[f"tlcli {name}"]
    assert isinstance(found, GroupedCommand)
    context = click.Context(found, info_name=name, terminal_width=width)
    _, _, text = found.get_help(context).partition(f"\n{next(iter(found.groups))}:\n")
    lines = [line for line in text.splitlines() if line.startswith(" ")]
    columns = {len(start[0]) for line in lines if (start := re.match(r" {10,}|  -.*?  +", line))}
    assert len(columns) == 1
    assert max(map(len, lines)) <= width
    assert "\xa0" not in text


def test_required_options_and_defaults_are_marked() -> None:
    text = " ".join(tlcli("evaluate", "--help").stdout.split())
    assert "[required unless --manifest]" in text
    assert "--input_height N Input height in pixels. [default: inferred; 1<=x<=8192]" in text
    assert re.search(r"^ +\[default: 127\.0\.0\.1\]$", tlcli("serve", "--help").stdout, re.M)


def test_an_unknown_command_is_a_usage_error_with_a_suggestion() -> None:
    done = tlcli("retrian")
    assert done.returncode == 2
    assert "Did you mean 'retrain'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_a_usage_error_with_a_suggestion() -> None:
    done = tlcli("retrain", "--image_dri", "x")
    assert done.returncode == 2
    assert "--image_dir" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrain", "--steps", "5"], "Did you mean '--how_many_training_steps'?"),
        (
            ["retrain", "--epochs", "5"],
            "Did you mean '--how_many_training_steps'? An epoch is as many steps as",
        ),
        (["retrain", "--batch-size", "5"], "Did you mean '--train_batch_size'?"),
        (["retrain", "--lr", "5"], "Did you mean '--learning_rate'?"),
        (["label", "--model", "m"], "Did you mean '--graph'?"),
        (["predict", "x.jpg"], "Did you mean 'label'?"),
        (["train"], "Did you mean 'retrain'?"),
        (["clear"], "Did you mean 'cache clear'?"),
        (["retrain", "--seed", "80x"], "'80x' is not a whole number"),
        (["retrain", "--learning_rate", "80x"], "'80x' is not a number"),
        (["label", "--top_k", "80x"], "'80x' is not a whole number; give 1 or more"),
        (
            ["retrain", "--model", "x"],
            "Did you mean '--module'?",
        ),
        (["label", "--spreadshet"], "Did you mean '--spreadsheet'?"),
        (["retrain", "photos"], "'photos' belongs to no option; the folder that holds"),
        (["retrain", "--image_dir", "a", "b", "c"], "'b' and 1 more belong to no option"),
        (["evaluate", "--image_dir", "a", "b"], "given as --image_dir DIR"),
        (["retrain", "--output_graph", "out/"], "out/ is the name of a folder"),
        (["label", ""], "the name of an image is empty"),
    ],
)
def test_a_usage_error_names_what_to_type(arguments: list[str], message: str) -> None:
    done = tlcli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_hyphens_are_accepted_for_underscores() -> None:
    done = tlcli("retrain", "--image-dir=/nowhere/at/all")
    assert done.returncode == 1
    assert "/nowhere/at/all" in done.stderr


def test_a_missing_image_dir_is_a_usage_error() -> None:
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
        "ConfusionMatrix",
        "Explanation",
        "Exports",
        "GraphAccuracy",
        "MultiLabelAccuracy",
        "Prediction",
        "Predictions",
        "RetrainResult",
        "TlcliError",
        "__version__",
        "errors",
        "evaluate",
        "evaluate_multi_label",
        "export",
        "load",
        "retrain",
    }
    for name in package.__all__:
        assert getattr(package, name) is not None
