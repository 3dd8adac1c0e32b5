"""Backbones in files that other people made: their kind, and their trial in a child process.

Only `tlcli.backbones.resolve` imports it; it imports the kinds of backbones beside it.
"""
