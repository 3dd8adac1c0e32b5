"""LiteRT files: writer, operators, safety checks, interpreter and pool of interpreters.

`tlcli.core` and `tlcli.backbones` may import it; it imports `tlcli.graph` and the rooms below.
"""
