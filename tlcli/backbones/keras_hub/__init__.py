"""Presets of keras-hub as backbones: addresses, downloads, safety checks, bottlenecks.

Only `tlcli.backbones.resolve` and ``tlcli modules`` import it; it imports the foundations of
`tlcli.backbones` and what lies below.
"""
