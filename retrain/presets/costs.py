"""What preset a run followed, and what the next one would cost on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrain.presets.choice import joined_module
from tlcli.backbone import Backbone
from tlcli.text import counted

FOLLOWING = {"original": "standard", "fast": "standard", "standard": "best"}
"""The preset after each; none comes after "best"."""

_ADDS = {
    "standard": "reads several layers of the network and compares the solvers",
    "best": "joins the installed EfficientNet-Lites and fine-tunes the first where that helps",
}
# Millions of multiplications per image, as the authors of EfficientNet-Lite give them: what the
# networks cost in proportion to each other, also on machines where only one was measured.
_WORK = {"efficientnet_lite0": 407, "efficientnet_lite1": 631, "efficientnet_lite2": 899}
# About that of ResNet-50, one of the slower networks that people use.
_OTHER_WORK = 4000
# EfficientNet-Lite0 at 150 images per second, see docs/performance.md.
_SECONDS_PER_MILLION = 1 / 150 / 407
# Eight epochs; of each image the gradients cost about twice what its scores do. The last third is
# trained alone before.
_FINE_TUNING_PASSES = 36
MOST_SECONDS = 3600.0
"""Preset "best" leaves out a fine-tuning that takes longer; `--fine_tune auto` asks for it."""
# Of fewer vectors the loading of the network is most of the time.
_LEAST_COMPUTED = 0.5


@dataclass(frozen=True)
class Usage:
    """The preset of a run and the next one.

    Attributes:
        name: of the preset.
        settings: what the run did, for people, the most general first: backbone, layers, solver.
        following: name of the next preset, None after the last one and where it has no use.
        seconds: what that one takes longest for, estimated from this run, or from the figures of
            a known network where the vectors came from the cache; None where neither is known.
        images: how many, for people.
        basis: what the estimate is made of.
    """

    name: str
    settings: tuple[str, ...] = ()
    following: str | None = None
    seconds: float | None = None
    images: str = ""
    basis: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return one line on this run and one on the next preset, which promises nothing."""
        first = f"Preset: {self.name}" + (f" ({', '.join(self.settings)})" if self.settings else "")
        if self.following is None:
            return (first,)
        cost = ""
        if self.seconds is not None:
            cost = f": about {rough_time(self.seconds)} for {self.images}, {self.basis}"
        return first, (
            f"--preset {self.following} {_ADDS[self.following]}{cost}. It may be more accurate: "
            "compare the test accuracies."
        )


@dataclass(frozen=True)
class Timing:
    """The time that a run spent on vectors.

    Attributes:
        images: how many have vectors, one each and one per distorted view.
        found: how many vectors came from the cache.
        computed: how many the network made.
        seconds: of wall time, for all of them.
    """

    images: int
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
    images = counted(timing.images, "image")
    per_vector, basis = timing.per_vector, "per image in this run"
    if per_vector is None:
        # Most vectors came from the cache.
        if _work(module) >= _OTHER_WORK:
            return Usage(name, settings, following, None, images)
        per_vector, basis = _SECONDS_PER_MILLION * _work(module), "per image on two cores"
    work = relative_work(following, module, timing.images)
    seconds = per_vector * (timing.found + timing.computed) * work
    basis = f"estimated from {per_vector * 1000:.0f} ms {basis}"
    return Usage(name, settings, following, seconds, images, basis)


def relative_work(preset: str, module: str, images: int) -> float:
    """Return what the networks of a preset have to do, beyond the vectors of ``module``.

    Args:
        preset: that follows.
        module: of the run that was measured.
        images: how many it had.

    Returns:
        Multiples of what one vector of ``module`` costs, per image.
    """
    if preset != "best":
        return 1.0
    after = joined_module()[0] if module in _WORK else module
    # The vectors of the measured network are in the cache by then.
    new = _work(after) - _work(module)
    trained = _FINE_TUNING_PASSES * _trained_work(after) if fine_tuning_fits(after, images) else 0.0
    return (new + trained) / _work(module)


def fine_tuning_fits(module: str, images: int) -> bool:
    """Return whether "best" fine-tunes: in `MOST_SECONDS` on two cores of the reference machine.

    It is decided by the images and the network alone, so that the same command gives the same
    graph on a busy machine.

    Args:
        module: of the backbone.
        images: how many there are.
    """
    seconds = _SECONDS_PER_MILLION * _trained_work(module) * _FINE_TUNING_PASSES * images
    return seconds <= MOST_SECONDS


def why_frozen(backbone: Backbone | None, images: int) -> str | None:
    """Return why "best" does not fine-tune a network; None where it does.

    Args:
        backbone: of the run.
        images: how many there are.
    """
    if backbone is None:
        return "imported vectors have no network to train"
    part = (*backbone.parts, backbone)[0]  # of joined ones the first is trained
    if not part.trainable:
        return f"{part.name} contains no weights to train"
    if not fine_tuning_fits(backbone.name, images):
        return f"{counted(images, 'image')} take too long; --fine_tune auto asks for it"
    return None


def _work(module: str) -> float:
    """Return the millions of multiplications that one image takes."""
    return sum(_WORK.get(part, _OTHER_WORK) for part in module.split("+"))


def _trained_work(module: str) -> float:
    """Return the same of what is fine-tuned: of joined backbones the first."""
    return _work(module.partition("+")[0])


def rough_time(seconds: float) -> str:
    """Return a time as an estimate says it: whole minutes, or tens of seconds below one."""
    if seconds < 55:
        return f"{max(10, round(seconds, -1)):.0f} s"
    minutes = max(1, round(seconds / 60))
    return counted(minutes, "minute") if minutes < 100 else counted(round(seconds / 3600), "hour")
