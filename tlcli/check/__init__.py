"""The `check` command: what is wrong with labelled photos, before anything learns from them.

It uses the first steps of a retraining, so it stands above `retrain/`. Only the command line
imports it.
"""
