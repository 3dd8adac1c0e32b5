"""What a run on imported vectors alone does not load."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from retrain.job import retrain

retrain(
    import_bottlenecks=Path(sys.argv[1]),
    output_graph=Path(sys.argv[2]) / "output_graph.pb",
    how_many_training_steps=20,
    final_layer_only=True,
)
print(*sys.modules)
"""


def test_imported_vectors_need_no_decoder_cache_or_tensorflow(shared: Path, tmp_path: Path) -> None:
    for folder in sorted((shared / "houses" / "bottlenecks").iterdir()):
        copied = tmp_path / "texts" / folder.name
        copied.mkdir(parents=True)
        for file in sorted(folder.iterdir())[:20]:
            shutil.copy(file, copied)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "texts"), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(result.stdout.split())
    assert not loaded & {"PIL", "sqlite3", "tensorflow", "keras", "ai_edge_litert", "tqdm"}
    assert (tmp_path / "output_report.html").is_file()
