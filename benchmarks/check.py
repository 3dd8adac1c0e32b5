"""Measure what ``tlcli check`` finds: flipped labels, beside cleanlab, and near copies by kind.

    python -m benchmarks.check --data ../shared

Prints Markdown tables. One label in twenty is flipped to another one at random, several times; the
figure is the proportion of these that are in the first 7% of the list. cleanlab ranks the same
held-out scores, made probabilities (pip install 'tlcli[bench]'); without it, its columns are empty.

Then copies of some photos are made by each kind and added to all photos; the figures are the
proportion of copies that are found with their photo, and the pairs that are found among the photos
themselves. Collages of photos have several labels each, of which some are flipped. At last all
photos are turned by 90, 180 and 270 degrees.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.accuracy.data import PHOTOS, Collection, load
from benchmarks.accuracy.recipes import recipes
from benchmarks.multi_label import draw as draw_collages
from benchmarks.multi_label import vectors_of
from benchmarks.tables import table
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.calibration.temperature import best_temperature
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer
from tlcli.core.fitting.main_axes import directions, on_main_axes
from tlcli.core.photos.facts import gather_facts
from tlcli.core.photos.held_out_scores import fit_held_out
from tlcli.core.photos.multi_label.wrong_marks import DOUBTED, mark_doubts
from tlcli.core.photos.near_copies import near_copies
from tlcli.core.photos.neighbours import nearest
from tlcli.core.photos.wrong_labels import suspicions

SETS = ("flowers", "aerial", "food", "textures", "digits", "flowers, Inception-v3")
COPIED = ("flowers", "aerial", "food", "textures")
PARTS = ("labels", "copies", "marks", "turns")
FLIPPED, LISTED = 0.05, 0.07
FOLDS = 5
FALSE_ALARMS = (0.01, 0.05, 0.1)
CLEANLAB = {
    "cleanlab, self-confidence": {"method": "self_confidence"},
    "cleanlab, normalised margin": {"method": "normalized_margin"},
    "cleanlab, adjusted": {"method": "self_confidence", "adjust_pred_probs": True},
}


def flip(labels: np.ndarray, label_count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels with one in twenty changed at random, and the rows of these."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(labels))[: round(FLIPPED * len(labels))]
    changed = labels.copy()
    changed[rows] = (labels[rows] + draw.integers(1, label_count, len(rows))) % label_count
    return changed, rows


def recall(order: np.ndarray, flipped: np.ndarray) -> float:
    """Return which proportion of the flipped rows is in the first 7% of an order."""
    return float(np.isin(flipped, order[: round(LISTED * len(order))]).mean())


def cleanlab_orders(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return how cleanlab orders rows by held-out scores [N, L]; nothing without cleanlab."""
    if importlib.util.find_spec("cleanlab") is None:
        return {}
    from cleanlab.rank import get_label_quality_scores

    temperature, _ = best_temperature(scores.astype(np.float32), labels)
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    chances = powers / powers.sum(axis=1, keepdims=True)
    return {
        name: np.argsort(get_label_quality_scores(labels, chances, **how), kind="stable")
        for name, how in CLEANLAB.items()
    }


def measure(collection: Collection, store: BottleneckStore, seeds: int, preset: str) -> list[str]:
    """Return the row of a collection, with the vectors of a preset."""
    vectors, blocks = collection.vectors(recipes()[preset], store)
    turned = on_main_axes(vectors, blocks)
    count = int(collection.labels.max()) + 1
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        labels, flipped = flip(collection.labels, count, seed)
        doubts = suspicions(turned, labels, count)
        scores = fit_held_out(turned, labels, count).all()
        reported = np.flatnonzero(doubts.probably_wrong)
        figures = {
            "accuracy": float((scores.argmax(axis=1) == collection.labels).mean()),
            "check": recall(doubts.ranked(), flipped),
            "right label proposed": float(
                (doubts.proposed[flipped] == collection.labels[flipped]).mean()
            ),
            "reported": len(reported) / len(labels),
            "reported flips": float(np.isin(flipped, reported).mean()),
        }
        orders = cleanlab_orders(scores, labels)
        figures |= {name: recall(order, flipped) for name, order in orders.items()}
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    names = ("accuracy", "check", *CLEANLAB, "right label proposed", "reported", "reported flips")
    means = [f"{np.mean(found[name]):.1%}" if name in found else "" for name in names]
    return [collection.name, f"{len(turned):,}", *means]


def copies(image: Image.Image, seed: int) -> dict[str, tuple[Image.Image, int]]:
    """Return copies of a photo by kind, with the JPEG quality to store them in."""
    width, height = image.size
    draw = np.random.default_rng(seed)

    def crop(whole: Image.Image, part: float) -> Image.Image:
        left, top = (int(draw.uniform(0, 1 - part) * side) for side in (width, height))
        return whole.crop((left, top, left + int(part * width), top + int(part * height)))

    mirror = ImageOps.mirror(image)
    return {
        "half size": (image.resize((width // 2, height // 2)), 88),
        "third": (image.resize((width // 3, height // 3)), 88),
        "quality 30": (image, 30),
        "brighter": (ImageEnhance.Brightness(image).enhance(1.3), 88),
        "grey": (ImageOps.grayscale(image), 88),
        "crop of 90%": (crop(image, 0.9), 88),
        "crop of 80%": (crop(image, 0.8), 88),
        "mirrored": (mirror, 88),
        "mirrored crop of 90%": (crop(mirror, 0.9), 88),
    }


def measure_copies(name: str, data: Path, store: BottleneckStore, scratch: Path) -> dict[str, str]:
    """Return the figures of a set by kind of copy, and its pairs among the photos themselves."""
    files = [str(image.file) for image in scan_folder(data / PHOTOS[name]).images]
    sample = np.unique(np.linspace(0, len(files) - 1, 40).astype(int)).tolist()
    made: dict[str, list[str]] = {}
    for row in sample:
        with Image.open(files[row]) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        for kind, (copy, quality) in copies(image, row).items():
            path = scratch / f"{name} {kind} {row}.jpg"
            copy.save(path, quality=quality)
            made.setdefault(kind, []).append(str(path))
    everything = [*files, *(path for paths in made.values() for path in paths)]
    contents = [str(content) for content in store.contents(everything)]
    backbone = recipes()["standard"].backbone()
    rows = [Request(*row) for row in zip(everything, contents, strict=True)]
    vectors = compute(backbone, rows, store).vectors
    thumbnails = gather_facts(everything, contents, store).thumbnails()
    figures, start = {}, len(files)
    for kind, paths in {"": [], **made}.items():
        chosen = [*range(len(files)), *range(start, start + len(paths))]
        start += len(paths)
        turned = directions(on_main_axes(vectors[chosen], backbone.blocks))
        found = near_copies(thumbnails[chosen], turned, nearest(turned, 10))
        pairs = {(each.first, each.second) for each in found}
        if kind:
            right = sum((row, len(files) + n) in pairs for n, row in enumerate(sample))
            figures[kind] = f"{right / len(sample):.0%}"
        else:
            figures["pairs among the photos"] = str(len(pairs))
    return figures


def measure_turns(name: str, data: Path, store: BottleneckStore, scratch: Path) -> list[list[str]]:
    """Return how well two ways tell that an image is turned, one row each.

    Each photo in each of its four orientations is scored by classifiers fitted on the photos of
    four other folds: by its label, of classifiers that know these photos upright, and by its
    orientation, of classifiers that know them in all four. An image is doubted where another
    orientation has a score that is higher by a margin; the margins are those with so many false
    alarms among upright photos.
    """
    images = scan_folder(data / PHOTOS[name]).images
    files = [str(image.file) for image in images]
    known = sorted({image.label for image in images})
    labels = np.array([known.index(image.label) for image in images], np.intp)
    turns = (None, *(getattr(Image.Transpose, f"ROTATE_{angle}") for angle in (90, 180, 270)))
    paths = list(files)
    for turn in turns[1:]:
        for row, file in enumerate(files):
            path = scratch / f"{name} {turn} {row}.jpg"
            with Image.open(file) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
                upright.transpose(turn).save(path, quality=95)
            paths.append(str(path))
    rows = zip(paths, map(str, store.contents(paths)), strict=True)
    backbone = recipes()["standard"].backbone()
    vectors = compute(backbone, [Request(*row) for row in rows], store).vectors
    count = len(files)
    by_label, by_turn = np.zeros((len(turns), count)), np.zeros((len(turns), count))
    folds = np.arange(count) % FOLDS
    every = np.arange(len(turns))[:, np.newaxis]

    def logits(training: np.ndarray, targets: np.ndarray, testing: np.ndarray) -> np.ndarray:
        settings = FitSettings(int(targets.max()) + 1, "lda", SgdSettings())
        samples = Samples(vectors[training], targets)
        return fit_layer(samples, None, backbone.blocks, settings).layer.logits(vectors[testing])

    for fold in range(FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        tested = (every * count + own).reshape(-1)
        found = logits(rest, labels[rest], tested).reshape(len(turns), len(own), -1)
        by_label[:, own] = found[:, np.arange(len(own)), labels[own]]
        turned = (every * count + rest).reshape(-1)
        found = logits(turned, np.repeat(np.arange(len(turns)), len(rest)), tested)
        margins = found[:, 1:].max(axis=1) - found[:, 0]
        by_turn[:, own] = margins.reshape(len(turns), -1)
    # By labels, the four orientations of a photo are compared with each other.
    others = [np.delete(by_label, turn, axis=0).max(axis=0) for turn in range(len(turns))]
    lines = []
    for way, doubts in (("its label", np.stack(others) - by_label), ("its orientation", by_turn)):
        limits = [np.quantile(doubts[0], 1 - rate) for rate in FALSE_ALARMS]
        lines.append([name, way, *(f"{(doubts[1:] > limit).mean():.0%}" for limit in limits)])
    return lines


def flip_marks(marks: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return marks [N, L] with one label of one photo in twenty changed, and where: [M, 2].

    Labels are taken from every second of these photos, and given to the others.
    """
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(marks))[: round(FLIPPED * len(marks))]
    changed, where = marks.copy(), []
    for number, row in enumerate(rows.tolist()):
        has, lacks = np.flatnonzero(marks[row]), np.flatnonzero(~marks[row])
        label = int(draw.choice(has if (number % 2 and len(has)) or not len(lacks) else lacks))
        changed[row, label] = not changed[row, label]
        where.append((row, label))
    return changed, np.array(where)


def measure_marks(
    name: str, data: Path, store: BottleneckStore, scratch: Path, seeds: int
) -> list[str]:
    """Return the row of the collages of a set, which have several labels each."""
    folder = scratch / f"{name} collages"
    folder.mkdir()
    paths, truth = draw_collages(data / PHOTOS[name], folder, 0)
    turned = on_main_axes(*vectors_of(paths, store))
    near, figures = nearest(directions(turned), 10), []
    for seed in range(seeds):
        marks, where = flip_marks(truth, seed)
        found = mark_doubts(turned, marks, near, 0)
        ranked = [*zip(found.rows.tolist(), found.labels.tolist(), strict=True)]
        first = set(ranked[: round(LISTED * len(marks))])
        reported = set(ranked[: int((found.scores >= DOUBTED).sum())])
        hits = np.array([(row, label) in first for row, label in where.tolist()])
        given = marks[where[:, 0], where[:, 1]]
        flips = np.mean([(row, label) in reported for row, label in where.tolist()])
        every = (hits.mean(), hits[given].mean(), hits[~given].mean())
        figures.append((*every, len(reported) / len(marks), flips))
    return [name, str(len(truth)), *(f"{mean:.0%}" for mean in np.mean(figures, axis=0))]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--preset", default="standard", help="whose vectors the labels part takes")
    options = parser.parse_args()
    photos = [name for name in COPIED if name in options.sets]
    with tempfile.TemporaryDirectory() as scratch, BottleneckStore() as store:
        where = (options.data, store, Path(scratch))
        if "labels" in options.parts:
            headings = (
                *("set", "photos", "accuracy", "check", *CLEANLAB),
                *("right label proposed", "photos reported", "flips reported"),
            )
            rows = [
                measure(load(name, *where), store, options.seeds, options.preset)
                for name in options.sets
            ]
            print(table(headings, rows))
        if "copies" in options.parts:
            found = {name: measure_copies(name, *where) for name in photos}
            kinds = next(iter(found.values()), {})
            lines = [[kind, *(each[kind] for each in found.values())] for kind in kinds]
            print("\n" + table(["copies found", *found], lines))
        if "marks" in options.parts:
            figures = ("flips found", "of given labels", "of taken labels")
            heads = ("collages of", "photos", *figures, "reported per photo", "flips reported")
            lines = [measure_marks(name, *where, options.seeds) for name in photos]
            print("\n" + table(heads, lines))
        if "turns" in options.parts:
            rates = (f"turned photos found, {rate:.0%} false alarms" for rate in FALSE_ALARMS)
            lines = [line for name in photos for line in measure_turns(name, *where)]
            print("\n" + table(["set", "by", *rates], lines))


if __name__ == "__main__":
    main()
