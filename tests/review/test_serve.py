"""tlcli serve before it serves: wrong use, what is missing, what it warns of."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.support import tlcli
from tlcli.errors import TlcliError, UsageError
from tlcli.review.command import command


def test_without_its_packages_it_says_which_command_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = CliRunner().invoke(command, [], standalone_mode=False).exception
    assert isinstance(found, TlcliError)
    assert found.exit_code == 1
    assert str(found).endswith("run: pip install 'tlcli[serve]'")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "a/b"],
        ["--name", ""],
        ["--name", "a:b"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--max_bytes", "0"],
        ["--max_pixels", "0"],
        ["--top_k", "0"],
    ],
)
def test_wrong_use(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--check photos --graph g.pb", "--graph is about a graph"),
        ("--check photos --top_k 3", "--num_top_predictions is about a graph"),
        ("--graph g.pb --remove_to x", "--remove_to has no effect without --check"),
        ("--module mobilenet_v2", "has no effect without --check"),
        ("--check absent", "is no folder"),
        ("--check photos --remove_to photos/x", "lie in one another"),
        ("--check photos --remove_to .", "lie in one another"),
    ],
)
def test_wrong_use_of_a_review(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(command, arguments.split(), standalone_mode=False).exception
    assert isinstance(found, (UsageError, click.UsageError))
    assert message in str(found)
    assert [each.name for each in tmp_path.iterdir()] == ["photos"]


def test_no_graph(tmp_path: Path) -> None:
    run = tlcli("serve", "--graph", tmp_path / "absent.pb")
    assert run.code == 1
    assert run.out == ""
    assert run.err.startswith("Error: there is no graph at ")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the model and the server; return the arguments that the server was given."""
    from tlcli.serve import model, server

    class Nothing:
        def close(self) -> None:
            return

    calls: list[Any] = []

    def serve(app: Any, listening: Any, limits: Any, ready: Any) -> None:
        with listening:
            calls.append((listening.getsockname(), limits))
            ready()

    monkeypatch.setattr(model, "open_model", lambda *arguments, **options: Nothing())
    monkeypatch.setattr(server, "serve", serve)
    return calls


def test_it_listens_to_this_machine_only(served: list[Any], tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command, ["--graph", str(tmp_path), "--port", "0", "--max_bytes", "5000"]
    )
    [((host, port), limits)] = served
    assert host == "127.0.0.1"
    assert limits.max_bytes == 5000
    assert result.stdout.splitlines() == [
        f"Open http://127.0.0.1:{port} in a browser; Ctrl-C ends it.",
        f"Programs: POST http://127.0.0.1:{port}/v1/models/model:predict",
    ]
    assert result.stderr == ""


def test_it_warns_where_other_machines_may_ask(served: list[Any], tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command, ["--graph", str(tmp_path), "--port", "0", "--host", "0.0.0.0"]
    )
    assert result.stderr.startswith("Warning: other machines reach 0.0.0.0 too")
    assert result.stdout.startswith("Open http://127.0.0.1:")


def test_a_port_that_is_taken(served: list[Any], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = CliRunner().invoke(
            command, ["--graph", str(tmp_path), "--port", port], standalone_mode=False
        )
    assert isinstance(result.exception, TlcliError)
    assert f"cannot listen on 127.0.0.1, port {port}" in str(result.exception)
    assert served == []


def test_an_address_of_another_machine(served: list[Any], tmp_path: Path) -> None:
    for host in ("192.0.2.1", "no such name"):
        result = CliRunner().invoke(
            command,
            ["--graph", str(tmp_path), "--port", "0", "--host", host],
            standalone_mode=False,
        )
        assert isinstance(result.exception, TlcliError), host
