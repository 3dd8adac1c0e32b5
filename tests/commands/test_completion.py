"""Completion as the shells themselves do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import shell_completion
from click.testing import CliRunner

from tests.support import ROOT
from tlcli.cli import COMMANDS
from tlcli.cli import command as tlcli
from tlcli.commands.completion import PROGRAM, VARIABLE, command, prepare, script


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": python_path, "TERM": "dumb"}


def shell(name: str, program: str, folder: Path, *options: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    done = subprocess.run(
        [found, *options, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**environment(), "HOME": str(folder)},
        timeout=300,
    )
    assert done.stderr == ""
    return done.stdout


def completions(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Return the completions that tlcli offers bash for the last of ``words``."""
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv(VARIABLE, "bash_complete")
    prepare()
    found = shell_completion.get_completion_class("bash")
    assert found is not None
    return found(tlcli, {}, PROGRAM, VARIABLE).complete().splitlines()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_names_the_program(name: str) -> None:
    result = CliRunner().invoke(command, [name])
    assert result.exit_code == 0
    assert result.stdout == script(name)
    assert f"_TLCLI_COMPLETE={name}_complete" in result.stdout
    assert "tlcli" in result.stdout


def test_another_shell_is_wrong_use() -> None:
    result = CliRunner().invoke(command, ["tcsh"])
    assert result.exit_code == 2
    assert "fish" in result.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["plain,retrain"]),
        (["evaluate", "--compare"], ["plain,--compare", "plain,--compare_labels"]),
        (["label", "--format", "js"], ["plain,json", "plain,jsonl"]),
        (["retrain", "--module", "nasnet"], ["plain,nasnet_mobile", "plain,nasnet_large"]),
        (["retrain", "--module", "=", "nasnet_m"], ["plain,nasnet_mobile"]),
        (["retrain", "--module=nasnet_m"], ["plain,nasnet_mobile"]),
        (["retrain", "--seed", "=", "1", "--module", "nasnet_m"], ["plain,nasnet_mobile"]),
        (["modules", "fetch", "nasnet_m"], ["plain,nasnet_mobile"]),
        (["retrain", "--module", "./mine"], ["file,./mine"]),
        (["label", "--graph", "out"], ["file,out"]),
        (["label", "pho"], ["file,pho"]),
        (["label", "--image", "=", "pho"], ["file,pho"]),
        (["label", "--image", "="], ["file,"]),
        (["nonsense", "--x"], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_completions(monkeypatch: pytest.MonkeyPatch, words: list[str], offered: list[str]) -> None:
    assert completions(monkeypatch, "tlcli", *words) == offered


def test_every_command_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions(monkeypatch, "tlcli", "") == [f"plain,{name}" for name in COMMANDS]


def test_bash(tmp_path: Path) -> None:
    program = (
        'eval "$(tlcli completion bash)"\n'
        "compopt() { echo files; }\n"  # outside of a key press there is none
        "COMP_WORDS=(tlcli evaluate --compare); COMP_CWORD=2; _tlcli_completion tlcli\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "COMP_WORDS=(tlcli label --graph my); COMP_CWORD=3; _tlcli_completion tlcli\n"
        "complete -p tlcli\n"
    )
    lines = shell("bash", program, tmp_path, "--norc", "--noprofile").splitlines()
    assert lines == [
        "--compare",
        "--compare_labels",
        "files",
        "complete -o nosort -F _tlcli_completion tlcli",
    ]


def test_bash_completes_a_file_at_a_key_press(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    (tmp_path / "my_graph.pb").write_bytes(b"")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
        env={**environment(), "TERM": "xterm", "PS1": "$ ", "HISTFILE": ""}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        os.write(ours, b'eval "$(tlcli completion bash)"; echo rea""dy\n')
        read_until(ours, b"ready")
        os.write(ours, b"echo tlcli; tlcli evaluate --graph my_g\t")
        read_until(ours, b"my_graph.pb")
        os.write(ours, b"\x15tlcli doc\t")
        read_until(ours, b"tlcli doctor")
    finally:
        os.write(ours, b"\x15exit\n")
        os.close(ours)
        process.wait(300)


def read_until(terminal: int, wanted: bytes) -> None:
    import select

    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], 120)
        assert ready, seen.decode(errors="replace")
        seen += os.read(terminal, 4096)


@pytest.mark.slow
def test_fish(tmp_path: Path) -> None:
    (tmp_path / "my_graph.pb").write_bytes(b"")
    program = (
        "tlcli completion fish | source\n"
        'complete -C "tlcli re"; complete -C "tlcli retrain --module nasnet_m"\n'
        'complete -C "tlcli label --graph my"; complete -C "tlcli evaluate --comp"'
    )
    offered = [line.split("\t") for line in shell("fish", program, tmp_path).splitlines()]
    assert [line[0] for line in offered] == [
        "retrain",
        "nasnet_mobile",
        "my_graph.pb",
        "--compare",
        "--compare_labels",
    ]
    assert offered[0][1] == COMMANDS["retrain"][1]


@pytest.mark.slow
def test_zsh(tmp_path: Path) -> None:
    # The function is asked what it would add: key presses need a terminal.
    program = (
        "autoload -Uz compinit && compinit -u -D\n"
        'eval "$(tlcli completion zsh)"\n'
        "[[ $_comps[tlcli] == _tlcli_completion ]] || echo not registered\n"
        "_describe() { print -rl -- ${(P)${@[-2]}} }\n"
        "compadd() { print -rl -- ${(P)${@[-1]}} }\n"
        "_path_files() { print files }\n"
        "words=(tlcli re); CURRENT=2; _tlcli_completion\n"
        "words=(tlcli retrain --module nasnet_m); CURRENT=4; _tlcli_completion\n"
        "words=(tlcli label --graph my); CURRENT=4; _tlcli_completion\n"
        "words=(tlcli label --format js); CURRENT=4; _tlcli_completion\n"
    )
    lines = shell("zsh", program, tmp_path, "-f").splitlines()
    assert lines[0] == f"retrain:{COMMANDS['retrain'][1]}"
    assert lines[1].startswith("nasnet_mobile:")
    assert lines[2:] == ["files", "json", "jsonl"]


@pytest.mark.parametrize("words", ["tlcli ", "tlcli retrain --module eff"])
def test_a_completion_imports_nothing_heavy(words: str) -> None:
    program = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
        "from tlcli.cli import main\n"
        "main()"
    )
    position = str(len(words.split(" ")) - 1)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={
            **environment(),
            "COMP_WORDS": words,
            "COMP_CWORD": position,
            "_TLCLI_COMPLETE": "bash_complete",
        },
    )
    assert "plain,efficientnet_lite0" in done.stdout or "plain,retrain" in done.stdout
    loaded = set(json.loads(done.stderr))
    assert not {"numpy", "PIL", "tensorflow", "jinja2", "tqdm"} & loaded
    if words == "tlcli ":
        assert not {"retrain.command", "label.command"} & loaded
