"""The page about a classifier of several labels per image, after a training or an evaluation.

The retraining and the commands may import it.
"""
