"""The names of `import tlcli`: listed, cheap, and known to type checkers."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

import tlcli
from retrain.arguments.keywords import RetrainKeywords
from retrain.arguments.options import RetrainOptions
from tests.support import ROOT


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_completion_lists_the_api_and_each_name_is_there() -> None:
    assert dir(tlcli) == sorted(tlcli.__all__)
    assert {"load", "retrain", "Classifier", "Prediction"} <= set(tlcli.__all__)
    for name in tlcli.__all__:
        assert getattr(tlcli, name) is not None


def test_importing_and_listing_loads_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import tlcli; dir(tlcli)\n"
        "print(*sorted(name for name in set(sys.modules) - before if name[0] != '_'))"
    )
    found = set(run(program).split())
    assert not {name.partition(".")[0] for name in found} & {"numpy", "PIL", "click", "retrain"}
    assert {name for name in found if name.startswith("tlcli")} == {
        "tlcli", "tlcli._packages", "tlcli._version", "tlcli.errors",
    }  # fmt: skip


TYPED = """
import numpy as np
import tlcli

result = tlcli.retrain("photos", output_graph="a.pb", how_many_training_steps=100, solver="lbfgs")
classifier = tlcli.load("a.pb", batch_size=8)
found = classifier.label(["a.jpg", b"", np.zeros((8, 8, 3), np.uint8)])
reveal_type(result)
reveal_type(result.confusion)
reveal_type(result.curves["training"].accuracy)
reveal_type(found)
reveal_type(found[0].score)
reveal_type(classifier.explain("a.jpg"))
reveal_type(classifier.predict_proba("photos").shape)
reveal_type(tlcli.evaluate(classifier, "photos"))
"""
REVEALED = [
    "retrain.result.RetrainResult",
    "tlcli.core.evaluation.confusion.ConfusionMatrix",
    "list[float]",
    "tlcli.core.classifier.outputs.Predictions",
    "float | None",
    "tlcli.core.classifier.explanations.Explanation",
    "tuple[Any, ...]",
    "tlcli.core.evaluation.graph_accuracy.GraphAccuracy",
]
WRONG = """
import tlcli

tlcli.retrain("photos", how_many_steps=100)
tlcli.retrain("photos", learning_rate="high")
tlcli.retrain("photos", solver="adam")
tlcli.load("a.pb", batch=8)
"""


@pytest.mark.slow
def test_type_checkers_know_the_options_and_the_results(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-color-output",
         "--cache-dir", str(tmp_path / "cache"), "typed.py", "wrong.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.replace("builtins.", "").splitlines()
    revealed = re.findall(r'Revealed type is "(.*)"', "\n".join(lines))
    assert revealed == REVEALED, done.stdout
    errors = [each for each in lines if ": error: " in each]
    assert [each.split(":")[:2] for each in errors] == [["wrong.py", str(n)] for n in (4, 5, 6, 7)]
    assert '"how_many_steps"' in errors[0]
    assert '"learning_rate"' in errors[1]
    assert '"batch"' in errors[3]


def test_the_keywords_are_the_options() -> None:
    """A new field of `RetrainOptions` needs a keyword of its type with a text."""
    keywords = get_type_hints(RetrainKeywords)
    options = {field.name: field for field in fields(RetrainOptions) if field.name != "image_dir"}
    assert list(keywords) == list(options)
    for name, hint in keywords.items():
        accepted = set(get_args(hint)) or {hint}
        declared = str(options[name].type)
        assert ("None" in declared) == (type(None) in accepted), name
        if "Path" in declared:
            assert str in accepted, name
        elif get_origin(hint) is Literal:
            assert options[name].default in accepted, name
        else:
            names = {"str" if get_origin(each) is Literal else each.__name__ for each in accepted}
            kinds = {each.partition("[")[0] for each in declared.split(" | ")} - {"None"}
            assert kinds <= names, name


def test_a_prompt_shows_and_completes_the_options() -> None:
    signature = inspect.signature(tlcli.retrain)
    assert signature.parameters["how_many_training_steps"].default == 4000
    assert signature.parameters["output_graph"].default == "output_graph.pb"
    assert not any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    text = inspect.getdoc(tlcli.retrain) or ""
    for name in RetrainKeywords.__annotations__:
        assert name in signature.parameters
        assert f"\n    {name}: " in text
    assert "batch_size" in inspect.signature(tlcli.load).parameters
    assert "threshold" in inspect.signature(tlcli.Classifier.label).parameters


@pytest.mark.slow
def test_ipython_completes_the_names_and_the_options(tmp_path: Path) -> None:
    program = (
        "from IPython.core.completer import provisionalcompleter\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(); shell.run_cell('import tlcli')\n"
        "for text in ('tlcli.', 'tlcli.retrain(\"photos\", how_'):\n"
        "    with provisionalcompleter():\n"
        "        found = shell.Completer.completions(text, len(text))\n"
        "        print(*(each.text for each in found))"
    )
    pytest.importorskip("IPython")
    names, options = run(program, IPYTHONDIR=str(tmp_path)).splitlines()
    public = {name for name in tlcli.__all__ if name != "__version__"}
    assert {name.lstrip(".") for name in names.split()} == public
    assert options == "how_many_training_steps="


def test_a_keyword_of_another_tool_leads_to_the_one_here() -> None:
    with pytest.raises(tlcli.errors.UsageError, match="Did you mean 'how_many_training_steps'"):
        tlcli.retrain("photos", epochs=3)  # type: ignore[call-overload]
    with pytest.raises(tlcli.errors.UsageError, match="No such option: colour"):
        tlcli.retrain("photos", colour=3)  # type: ignore[call-overload]
