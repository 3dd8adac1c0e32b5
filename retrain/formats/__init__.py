"""The formats of other programs that a run writes beside its graph (``--export``).

Only `retrain.outputs` imports it.
"""
