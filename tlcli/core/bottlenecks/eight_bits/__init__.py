"""Backbones that compute with integers of 8 bits: which, calibrated with what, cached where.

`tlcli.core.bottlenecks` and the rooms above may import it; it imports `tlcli.litert.quantized`,
`tlcli.core.images` and the rooms below.
"""
