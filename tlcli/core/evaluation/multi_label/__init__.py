"""Figures of scores for images with several labels, of a layer and of a graph.

`tlcli.report`, the commands and the jobs may import it.
"""
