"""A run with several labels per image: what it refuses, its steps, its result and its report.

It shares images, vectors and exports with `retrain.job`, which imports it, as the options and the
result do.
"""
