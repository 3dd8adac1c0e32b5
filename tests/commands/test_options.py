"""Values that several commands parse."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.support import commands
from tlcli.cli import command as tlcli
from tlcli.commands.options import (
    ACCURACY,
    ANY_PATH,
    FILE_PATH,
    WholeNumber,
    finite,
    from_home,
    parse_accuracy,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.9", 0.9), ("90%", 0.9), (" 87.5 % ", 0.875), ("0", 0.0), ("1", 1.0), ("100%", 1.0)],
)
def test_accuracies(text: str, value: float) -> None:
    assert parse_accuracy(text) == pytest.approx(value)
    assert ACCURACY(text) == pytest.approx(value)


def test_a_percentage_is_no_more_than_its_fraction() -> None:
    for correct in range(1001):
        assert parse_accuracy(f"{correct // 10}.{correct % 10}%") == correct / 1000


@pytest.mark.parametrize(
    "text", ["90", "-0.1", "101%", "nan", "nan%", "sNaN", "inf", "1e999999999%", "", "%", "much"]
)
def test_what_is_no_accuracy(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the text itself
        parse_accuracy(text)
    with pytest.raises(click.BadParameter, match=r"fraction such as 0\.9, or 90%"):
        ACCURACY(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "x", ""])
def test_what_is_no_finite_number(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a number"):
        finite(text)


def test_finite_numbers() -> None:
    assert [finite(text) for text in ("0", "-1.5", "1e3")] == [0, -1.5, 1000]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert ANY_PATH.convert("~/new.pb", None, None) == Path("/home/me/new.pb")
    assert [from_home(path) for path in ("~", "a/~", "~nobody-here/x", "/~")] == [
        "/home/me", "a/~", "~nobody-here/x", "/~",
    ]  # fmt: skip
    (tmp_path / "~").mkdir()  # somebody has one of that name
    assert ANY_PATH.convert("~/new.pb", None, None) == Path("~/new.pb")


def test_the_name_of_a_folder_is_no_file() -> None:
    with pytest.raises(click.BadParameter, match="out/ is the name of a folder; name a file"):
        FILE_PATH.convert("out/", None, None)
    assert ANY_PATH.convert("out/", None, None) == Path("out")
    with pytest.raises(click.BadParameter, match="empty"):
        FILE_PATH.convert("", None, None)


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        (WholeNumber(min=1, max=9), "80x", "'80x' is not a whole number; give one from 1 to 9"),
        (WholeNumber(min=1), "0", "0 is too small; give 1 or more"),
        (WholeNumber(min=0, max=9), "10", "10 is too large; give one from 0 to 9"),
    ],
)
def test_a_number_that_is_none_and_its_bounds(
    number: WholeNumber, value: str, message: str
) -> None:
    with pytest.raises(click.BadParameter) as caught:
        number.convert(value, None, None)
    assert caught.value.message == message


def test_every_number_option_names_what_is_wrong_in_plain_words() -> None:
    """None of them has one of click's own types, whose messages are of ranges and floats."""
    plain = set()
    for name, command in commands(tlcli, "tlcli"):
        for option in command.params:
            assert type(option.type) not in (click.IntRange, click.FloatRange), (name, option.name)
            assert option.type not in (click.INT, click.FLOAT), (name, option.name)
            if isinstance(option.type, WholeNumber):
                plain.add(option.name)
    assert plain >= {"port", "top_k", "input_height", "batch_size"}
