"""``tlcli doctor``: facts for a bug report, and a self-test."""

from __future__ import annotations

import json
from typing import Any

import click

from tlcli.commands.options import format_option
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging
from tlcli.text import byte_size, counted, table


@click.command(context_settings=CONTEXT_SETTINGS)
@format_option("text", "json")
@click.option("--no_self_test", is_flag=True, help="Skip the self-test.")
def command(output_format: str, no_self_test: bool) -> int:
    """Show versions, processor, memory, caches and backbones, and run a self-test.

    The self-test retrains on a few drawn images; the exit code is 1 if it fails. Paste the
    output into a bug report.

    \b
    Examples:
      tlcli doctor
      tlcli doctor --format json --no_self_test
    """
    set_up_logging()
    found = examine()
    if not no_self_test:
        from tlcli.commands.self_test import run

        if output_format == "text":
            click.echo("Self-test: this takes some seconds ...", err=True)
        found["self_test"] = run()
    if output_format == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        click.echo(to_text(found))
    return 0 if no_self_test or found["self_test"]["ok"] else 1


def examine() -> dict[str, Any]:
    """Return everything except for the self-test, as JSON values."""
    import platform

    from tlcli.backbones import catalogue
    from tlcli.core.images import fast_jpeg
    from tlcli.system import cache_folders, machine
    from tlcli.system.memory import memory

    return {
        "versions": machine.versions(),
        "system": platform.platform(),
        "processor": machine.processor(),
        "memory": memory(),
        "quick_jpegs": fast_jpeg.state(),
        "folders": {
            "bottlenecks": machine.folder(cache_folders.bottleneck_folder()),
            "models": machine.folder(cache_folders.model_folder()),
            "converted": machine.folder(cache_folders.converted_folder()),
            "exported": machine.folder(cache_folders.compiled_folder()),
        },
        "backbones": [
            entry.name for entry in catalogue.entries().values() if catalogue.on_this_machine(entry)
        ],
        "environment": machine.variables(),
        "self_test": None,
    }


def to_text(found: dict[str, Any]) -> str:
    """Format the results of `examine` and the self-test, one fact per line."""
    processor, memory = found["processor"], found["memory"]
    features = processor["features"]
    rows = [
        ("System", found["system"]),
        ("Processor", f"{processor['name']}, {counted(processor['cores'], 'core')} to use"),
        ("Features", "unknown" if features is None else " ".join(features) or "none of note"),
        ("bfloat16", _bfloat16(processor["bfloat16"])),
        ("Memory", _memory(memory)),
        ("Quick JPEGs", _quick_jpegs(found["quick_jpegs"])),
        *(
            (name.capitalize(), f"{folder['path']} ({_contents(folder)})")
            for name, folder in found["folders"].items()
        ),
        ("Backbones", ", ".join(found["backbones"]) or "none on this machine"),
        *found["environment"].items(),
    ]
    versions = [(name, version or "not installed") for name, version in found["versions"].items()]
    lines = ["Versions", *_columns(versions), "", "Machine", *_columns(rows)]
    test = found["self_test"]
    if test is not None:
        outcome = "ok" if test["ok"] else "FAILED"
        lines += ["", f"Self-test: {outcome}, {test['sentence']} ({test['seconds']:.1f} s)"]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    return [f"  {line}" for line in table(rows, right=())]


def _bfloat16(instructions: str | None) -> str:
    from tlcli.system.machine import has_gpu

    found = f"yes, by {instructions}" if instructions else "no"
    # Finding out which GPU it is takes TensorFlow some seconds.
    return f"{found}; the GPU may have it" if has_gpu() and not instructions else found


def _quick_jpegs(state: dict[str, Any]) -> str:
    if not state["used"]:
        return f"no: {state['reason']}"
    return "yes" if state["instructions"] == "plain" else f"yes, by {state['instructions']}"


def _memory(memory: dict[str, int | None]) -> str:
    total, available, limit = (memory[key] for key in ("total", "available", "limit"))
    if total is None:
        return "unknown"
    parts = [byte_size(total)]
    if available is not None:
        parts.append(f"{byte_size(available)} available")
    if limit is not None and limit < total:
        parts.append(f"limited to {byte_size(limit)}")
    return ", ".join(parts)


def _contents(folder: dict[str, Any]) -> str:
    if not folder["exists"]:
        return "not there yet"
    return f"{counted(folder['files'], 'file')}, {byte_size(folder['bytes'])}"
