"""What a model file is, what it takes and what it returns, before any of it runs.

`tlcli.core.classifier`, `tlcli.backbones` and everything above may import it; it imports
`tlcli.core.images`, `tlcli.graph`, `tlcli.litert` and the rooms below them.
"""
