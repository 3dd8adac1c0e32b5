"""Vectors of a lower precision than that of the exported graph, and what is measured with them.

`retrain` may import it; it imports `tlcli.core.bottlenecks` and the rooms below.
"""
