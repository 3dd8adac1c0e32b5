"""Vectors of more than one layer or network: pooled maps of the last stages, joined backbones.

`resolve` and `retrain` import it; it knows no kind of backbone.
"""
