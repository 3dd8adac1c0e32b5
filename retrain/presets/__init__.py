"""Named choices of backbone, layers, solver and fine-tuning, and what each of them costs.

Only `retrain` imports this.
"""
