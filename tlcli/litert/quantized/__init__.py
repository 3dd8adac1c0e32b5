"""LiteRT files with integers of 8 bits, or with weights of 16: calibration, choice of operators.

`tlcli.core` and `tlcli.backbones` may import it; it imports `tlcli.litert` and the rooms below.
"""
