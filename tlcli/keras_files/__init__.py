"""Keras model files: their configuration, safety checks, loading, and freezing to a GraphDef.

`tlcli.core.model_spec`, `tlcli.core.classifier` and `tlcli.backbones` may import it; it imports
`tlcli.graph`, `tlcli.runtime` and `tlcli.system`.
"""
