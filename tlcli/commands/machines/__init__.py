"""What several commands share that can use many machines: their options, and an evaluation.

The commands may import it; it imports `tlcli.runners`, `tlcli.core` and the rooms below them.
"""
