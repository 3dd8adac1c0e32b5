"""A graph, its labels and its preprocessing as one object that labels images.

`tlcli.core.evaluation` and everything above may import it; it imports `tlcli.core.export`,
`tlcli.core.images`, `tlcli.graph`, `tlcli.litert` and the rooms below them.
"""
