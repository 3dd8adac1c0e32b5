"""Retrain the last layer of an image network and label images with it."""
__version__ = "0.1.0"
