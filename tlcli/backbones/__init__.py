"""Backbones of every source: `resolve.resolve` finds the one that a user named.

The commands and `retrain` may import it; it imports `tlcli.core.classifier` and the rooms below it.
"""
