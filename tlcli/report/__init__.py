"""Report pages, plots and TensorBoard summaries: what was learned, and how reliable it is.

The commands, `retrain` and `tlcli.serve` may import it; it imports `tlcli.core` and rooms below.
"""
