"""Folders, manifests and archives of images to labels, splits and content hashes.

`tlcli.core.bottlenecks` and everything above may import it; it imports `tlcli.core.images` and the
foundations.
"""
