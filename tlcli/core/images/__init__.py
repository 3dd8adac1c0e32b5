"""Image files to RGB pixels: decoding, orientation, resizing, augmentation and thumbnails.

Every other room of `tlcli.core` may import it; it imports `tlcli.runtime` and `tlcli.system` only.
"""
