"""Options of shards and clusters that cannot be used together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlcli.errors import UsageError
from tlcli.storage.locations import scheme_of, text_of

if TYPE_CHECKING:
    from retrain.arguments.options import RetrainOptions


def check_shards(options: RetrainOptions) -> None:
    """Check the options of shards against each other and against those they exclude.

    Raises:
        UsageError: they cannot be used together.
    """
    options.machines.check()
    if not options.by_shards:
        return
    asked = "--runner ray" if options.runner == "ray" else "--num_shards"
    if options.bottleneck_dir is not None and scheme_of(text_of(options.bottleneck_dir)) == "http":
        raise UsageError(
            f"{asked} writes part files, and --bottleneck_dir is on a web server, which is read "
            "only; give a folder on a shared drive, s3://, gs:// or hdfs://"
        )
    if options.import_bottlenecks is not None:
        raise UsageError(
            f"--import_bottlenecks brings vectors, so {asked} has nothing to compute; leave "
            "one of the two out"
        )
    if options.precision == "bfloat16":
        raise UsageError(
            f"{asked} computes in float32, as processors differ in bfloat16; leave --precision out"
        )
    if options.precision == "int8":
        raise UsageError(
            f"{asked} computes in float32, and --precision int8 compares both in one process; "
            "leave --precision out"
        )
    if options.module == "auto":
        raise UsageError(
            f"{asked} needs one backbone for all machines, and --module auto compares several; "
            "name one from `tlcli modules`"
        )
