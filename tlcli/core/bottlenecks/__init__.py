"""Pixels to bottleneck vectors: extraction, engines, precision, the cache and its text files.

The commands and `tlcli.report` may import it; it imports `tlcli.core.images`, `tlcli.core.data`,
`tlcli.litert`, `tlcli.graph` and the foundations.
"""
