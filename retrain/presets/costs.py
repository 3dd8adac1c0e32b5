"""What preset a run followed, and what the next one would cost on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrain.presets.choice import joined_module
from tlcli.text import counted

FOLLOWING = {"original": "standard", "fast": "standard", "standard": "best"}
"""The preset after each; none comes after "best"."""

_ADDS = {
    "standard": "reads several layers of the network and compares the solvers",
    "best": "joins the installed EfficientNet-Lites and fine-tunes where that helps",
}
# Millions of multiplications per image, as the authors of EfficientNet-Lite give them: what the
# networks cost in proportion to each other, also on machines where only one was measured.
_WORK = {"efficientnet_lite0": 407, "efficientnet_lite1": 631, "efficientnet_lite2": 899}
# Of fewer vectors the loading of the network is most of the time.
_LEAST_COMPUTED = 0.5


@dataclass(frozen=True)
class Usage:
    """The preset of a run and the next one.

    Attributes:
        name: of the preset.
        settings: what the run did, for people, the most general first: backbone, layers, solver.
        following: name of the next preset, None after the last one and where it has no use.
        seconds: what that one takes longest for, estimated from this run; None where nothing
            was measured.
        vectors: how many of which size of network it computes, for people.
        basis: what the estimate is made of, or why there is none, in brackets.
    """

    name: str
    settings: tuple[str, ...] = ()
    following: str | None = None
    seconds: float | None = None
    vectors: str = ""
    basis: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return one line on this run and one on the next preset, which promises nothing."""
        first = f"Preset: {self.name}" + (f" ({', '.join(self.settings)})" if self.settings else "")
        if self.following is None:
            return (first,)
        cost = self.basis
        if self.seconds is not None:
            cost = f"in about {rough_time(self.seconds)} {self.basis}"
        return first, (
            f"--preset {self.following} {_ADDS[self.following]}. It computes {self.vectors} "
            f"{cost} and may be more accurate: compare the test accuracies."
        )


@dataclass(frozen=True)
class Timing:
    """The time that a run spent on vectors.

    Attributes:
        found: how many came from the cache.
        computed: how many the network made.
        seconds: of wall time, for all of them.
    """

    found: int
    computed: int
    seconds: float

    @property
    def per_vector(self) -> float | None:
        """Seconds per vector; None where too few were computed to say."""
        if self.computed < max(1, _LEAST_COMPUTED * (self.found + self.computed)):
            return None
        return self.seconds / self.computed


def usage(options: Mapping[str, Any], module: str, timing: Timing | None) -> Usage:
    """Return what preset a run followed and what the next one would take.

    Args:
        options: of the run, by name, resolved.
        module: name of its backbone.
        timing: what its vectors took; None where they were imported, so that no other preset
            has images to work on.
    """
    name = options["preset"]
    settings = (module, *(str(options[each]) for each in ("layers", "solver") if each in options))
    following = FOLLOWING.get(name) if timing is not None else None
    if following is None or timing is None:
        return Usage(name, settings)
    count = timing.found + timing.computed
    vectors = counted(count, "vector")
    per_vector = timing.per_vector
    if per_vector is None:
        basis = "(of unknown cost: most of those of this run came from the cache)"
        return Usage(name, settings, following, None, vectors, basis)
    seconds = per_vector * count * relative_work(following, module)
    basis = f"({per_vector * 1000:.0f} ms each in this run)"
    return Usage(name, settings, following, seconds, vectors, basis)


def relative_work(preset: str, module: str) -> float:
    """Return what the networks of a preset cost that a run with ``module`` has not computed.

    Returns:
        Multiples of what ``module`` costs, at least 0.
    """
    if preset != "best" or module not in _WORK:
        return 1.0
    others: Sequence[str] = [part for part in joined_module()[0].split("+") if part != module]
    return sum(_WORK[part] for part in others) / _WORK[module]


def rough_time(seconds: float) -> str:
    """Return a time as an estimate says it: whole minutes, or tens of seconds below one."""
    if seconds < 55:
        return f"{max(10, round(seconds, -1)):.0f} s"
    minutes = max(1, round(seconds / 60))
    return counted(minutes, "minute") if minutes < 100 else counted(round(seconds / 3600), "hour")
