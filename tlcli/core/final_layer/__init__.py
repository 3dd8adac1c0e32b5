"""Vectors to weights and biases: SGD, logistic regression and checkpoints.

Export, evaluation and everything above may import it; it imports the foundations only.
"""
