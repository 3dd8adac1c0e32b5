"""Scores to figures: metrics, confusion matrices and the comparison of graphs.

The commands, `tlcli.report` and `tlcli.serve` may import it; it imports `tlcli.core.classifier`,
`tlcli.core.final_layer` and the rooms below them.
"""
