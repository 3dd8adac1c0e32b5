"""A run that begins where an earlier one ended: its options, its fit, and what changed since.

The job and its options import it; it imports the model card, the inputs and the evaluation.
"""
