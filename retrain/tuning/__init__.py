"""The fine-tuning of a run: its checks, and the step between fit and evaluation.

The job imports it; it imports the inputs, the options and the fit of `retrain`.
"""
