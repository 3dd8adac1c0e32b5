"""The files of examples/scale: valid by published schemas, with commands that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from retrain.command import command
from tests.support import ROOT, Trained

FOLDER = ROOT / "examples" / "scale"


def document(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what retrain makes of a command."""
    assert words[:2] == ["tlcli", "retrain"]
    words = [word.replace("$(JOB_COMPLETION_INDEX)", "99") for word in words[2:]]
    return command.make_context("retrain", words).params


def test_the_kubernetes_job_is_valid_and_runs_all_shares() -> None:
    job = document("kubernetes_job.yaml")
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    options = parsed(container["command"])
    assert options["num_shards"] == job["spec"]["completions"] == 100
    assert options["shard_index"] == 99


def test_the_pods_of_the_ray_job_are_valid_and_its_command_too() -> None:
    job = document("kuberay_job.yaml")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    options = parsed(shlex.split(job["spec"]["entrypoint"]))
    assert (options["runner"], options["address"]) == ("ray", "auto")


def strict(schema: Any) -> Any:
    """Return a schema that refuses fields it does not know, as KubeRay's API server does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(each) for name, each in schema.items()}
    if "properties" in made and "x-kubernetes-preserve-unknown-fields" not in made:
        made.setdefault("additionalProperties", False)
    return made


def test_the_ray_job_is_valid_by_kuberays_schema() -> None:
    """The schema has 1.4 MB, and no package index has it."""
    path = os.environ.get("KUBERAY_SCHEMA")
    if path is None:
        pytest.skip(
            "set KUBERAY_SCHEMA to helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml of KubeRay"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(Path(path).read_text(encoding="utf-8"), loader)
    (version,) = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
    validator = jsonschema.Draft7Validator(strict(version["schema"]["openAPIV3Schema"]))
    job = document("kuberay_job.yaml")
    validator.validate(job)
    # It does look at all depths.
    worker = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    worker["template"]["spec"]["containers"][0]["imagee"] = ""
    assert [list(error.path)[-2:] for error in validator.iter_errors(job)] == [["containers", 0]]
    del worker["template"]["spec"]["containers"][0]["imagee"]
    worker["replicas"] = "20"
    assert not validator.is_valid(job)


def test_slurm_reads_the_options_of_the_array() -> None:
    text = (FOLDER / "slurm_array.sh").read_text(encoding="utf-8")
    # Slurm reads them up to the first command.
    head = text[: text.index("set -eu")]
    assert re.findall(r"^#SBATCH --(\S+)=", head, re.MULTILINE) == [
        "job-name", "array", "cpus-per-task", "mem", "time",
    ]  # fmt: skip
    assert subprocess.run(["bash", "-n", FOLDER / "slurm_array.sh"], check=True)


def test_slurm_accepts_the_array() -> None:
    """Where there is a Slurm: its own check of a batch script, which starts nothing."""
    if shutil.which("sbatch") is None:
        pytest.skip("Slurm is not installed")
    if subprocess.run(["scontrol", "ping"], capture_output=True, check=False).returncode:
        pytest.skip("no controller of Slurm answers")
    done = subprocess.run(
        ["sbatch", "--test-only", FOLDER / "slurm_array.sh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "to start at" in done.stderr


@pytest.mark.slow
def test_a_task_of_the_array_computes_its_share(trained: Trained, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm_array.sh")],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PHOTOS": str(trained.photos),
            "BOTTLENECKS": str(tmp_path),
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_ARRAY_TASK_ID": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Shards with their parts" in done.stdout
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
