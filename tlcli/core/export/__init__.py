"""Weights to files: frozen graph, LiteRT file, SavedModel, labels and model card.

`tlcli.core.classifier` and everything above may import it; it imports `tlcli.core.final_layer`,
`tlcli.graph`, `tlcli.litert` and the rooms below them.
"""
