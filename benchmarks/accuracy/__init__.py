"""Accuracy of the presets and of other tools on the same photos and vectors.

`python -m benchmarks.accuracy --data ../shared` prints the tables of docs/accuracy.md;
`solvers.py` and `from_images.py` compare solvers, normalisations and precisions alone.
"""
