from __future__ import annotations

import pytest

from tlcli.terminal import say_below_minimum


@pytest.mark.parametrize(
    ("accuracy", "minimum", "said"),
    [
        (0.5, 0.9, "Error: the test accuracy 50.0% is below --min_accuracy 90.0%."),
        (0.89996, 0.9, "Error: the test accuracy 89.996% is below --min_accuracy 90.000%."),
        (None, 0.9, "Error: there is no test accuracy to hold against --min_accuracy."),
    ],
)
def test_why_a_command_ends_with_3(
    accuracy: float | None, minimum: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_below_minimum("test accuracy", accuracy, minimum)
    assert capsys.readouterr().err == said + "\n"
