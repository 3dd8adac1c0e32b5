"""What tlcli is compared with; each task runs in a process of its own.

``python -m benchmarks.peers TASK JSON`` runs a task with the arguments of a JSON object and
prints its answer as one. A peer that is not installed exits with `NOT_HERE` and one sentence.
"""
