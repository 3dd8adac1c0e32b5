"""The rooms of the code: who imports whom, how large they are, and how wide their functions.

`docs/architecture.md` draws the imports between rooms. The drawing is compared with the code;
where it differs, the test prints the lines that the drawing should have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT
from tlcli.cli import COMMANDS

Graph = dict[str, set[str]]

PACKAGES = ("tlcli", "retrain", "label")
FILES_PER_ROOM = 12
WIDE, WIDE_FUNCTIONS = 6, 9
FOUNDATIONS = "foundations"
DRAWING = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
ARROW = re.compile(r"^\s*(\w+) (-->|-\.->) (\w+)$", re.MULTILINE)


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module of the product by its full name."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Return the product's modules that a module imports, inside functions too."""
    found: set[str] = set()
    for node in runtime_nodes(tree(modules()[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: a relative import"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in modules() else node.module)
    return {name for name in found if name in modules()} - {module}


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.orelse:
                yield part
                yield from runtime_nodes(part)
            continue
        yield child
        yield from runtime_nodes(child)


def room(module: str) -> str:
    """Return the name that the drawing has for the room of a module.

    The files of `tlcli/` itself, which every room may use, are one room; the command and what
    writes to the terminal stand alone.
    """
    parts = module.split(".")
    if module in ("tlcli.cli", "tlcli.__main__"):
        return "cli"
    if parts[0] in ("retrain", "label"):
        return parts[0]
    if parts[:2] == ["tlcli", "core"]:
        return parts[2] if len(parts) > 2 else FOUNDATIONS
    if len(parts) > 1 and (module == "tlcli.terminal" or (ROOT / "tlcli" / parts[1]).is_dir()):
        return parts[1]
    return FOUNDATIONS


def room_imports() -> Graph:
    """Return which rooms each room imports."""
    graph: Graph = {room(module): set() for module in modules()}
    for module in modules():
        # `tlcli` itself only looks its public names up, in whatever room they live.
        if module != "tlcli":
            graph[room(module)] |= {room(name) for name in imports(module)}
    return {name: found - {name} for name, found in graph.items()}


def reachable(graph: Graph, start: str) -> set[str]:
    """Return every node that a path of at least one arrow leads to."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def reduced(graph: Graph) -> set[tuple[str, str]]:
    """Return the arrows of a graph without circles that no longer path implies."""
    return {
        (start, end)
        for start, ends in graph.items()
        for end in ends
        if not any(end in reachable(graph, other) for other in ends - {end})
    }


def drawn() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (drawing,) = DRAWING.findall(text)
    return ARROW.findall(drawing)


def test_the_drawing_has_the_imports_of_the_code() -> None:
    arrows = reduced(room_imports())
    right = "\n".join(f"    {start} --> {end}" for start, end in sorted(arrows))
    shown = [(start, end) for start, kind, end in drawn() if kind == "-->"]
    assert len(shown) == len(set(shown))
    assert set(shown) == arrows, f"docs/architecture.md should draw:\n{right}"


def test_the_drawing_has_the_commands_that_are_loaded_by_name() -> None:
    rooms = {room(module) for module, _ in COMMANDS.values()}
    shown = {(start, end) for start, kind, end in drawn() if kind == "-.->"}
    assert shown == {("cli", name) for name in rooms}


def test_the_page_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {str(path.parent.relative_to(ROOT)) for path in modules().values()}
    missing = {each for each in rooms - {"tlcli", "tlcli/core"} if f"`{each}/`" not in text}
    assert not missing


def test_no_module_imports_itself_in_a_circle() -> None:
    # `tlcli` is above the rooms whose names it looks up, and not imported by them at run time.
    graph = {name: imports(name) - {"tlcli"} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def folders() -> dict[Path, list[Path]]:
    """Return the files of each room, without its `__init__.py`."""
    found: dict[Path, list[Path]] = {}
    for path in modules().values():
        found.setdefault(path.parent, [])
        if path.name != "__init__.py":
            found[path.parent].append(path)
    return found


@pytest.mark.parametrize("folder", sorted(folders()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_is_small_and_says_what_lives_in_it(folder: Path) -> None:
    files = sorted(path.name for path in folders()[folder])
    assert len(files) <= FILES_PER_ROOM, f"{len(files)} files: {', '.join(files)}"
    text = ast.get_docstring(tree(folder / "__init__.py")) or ""
    sentences = re.findall(r"[.](?=\s|$)", text)
    assert len(sentences) >= 2, "say in two sentences what lives here and who may import it"
    assert re.search(r"\bimports?\b", text), "say who may import the room"


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many parameters callers give."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_few_functions_have_many_parameters() -> None:
    wide = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({parameters(node)})"
        for path in modules().values()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and parameters(node) >= WIDE
        # Options of a command are parameters.
        and not any(
            re.search("click|option|command", ast.unparse(each)) for each in node.decorator_list
        )
    ]
    assert len(wide) <= WIDE_FUNCTIONS, "\n".join(wide)


def test_a_path_that_others_imply_is_not_drawn() -> None:
    graph: Graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert reduced(graph) == {("a", "b"), ("b", "c")}


def test_imports_are_found_in_functions_and_not_for_typing_alone() -> None:
    source = ast.parse(
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\n"
    )
    names = [node.names[0].name for node in runtime_nodes(source) if isinstance(node, ast.Import)]
    assert names == ["b", "c"]
