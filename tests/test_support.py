"""A failure of a test shows what its commands printed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import outputs_of


def test_the_outputs_of_a_failed_command_are_shown() -> None:
    program = "import sys; print('some'); sys.exit('no weights')"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    *_, out, err = outputs_of(caught.value)
    assert out == (f"stdout of {caught.value}", "some\n")
    assert err == (f"stderr of {caught.value}", "no weights\n")
    assert outputs_of(ValueError()) == outputs_of(None)
