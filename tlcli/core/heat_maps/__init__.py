"""Where in an image a network sees a label: feature maps, weighted by the final layer.

`tlcli.core.classifier` and everything above may import it; it imports `tlcli.graph`,
`tlcli.litert`, `tlcli.runtime` and the rooms below them.
"""
