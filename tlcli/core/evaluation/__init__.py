"""Scores to figures: metrics, confusion matrices, comparison of graphs and activation maps.

The commands, `tlcli.report` and `tlcli.serve` may import it; it imports `tlcli.core.classifier`,
`tlcli.core.final_layer`, `tlcli.graph` and the rooms below them.
"""
