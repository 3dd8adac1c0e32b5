"""The formats that are read: Pillow decodes them in this process and opens nothing inside them.

HEIF is the exception: libheif decodes it in a child process (`heif`).

Left out, although Pillow has a plugin:

- EPS and WMF start another program or the system's own renderer.
- IPTC and FPX (and MIC) are containers; IPTC opens what it holds by Pillow's whole list, EPS
  included, and MIC a TIFF.
- BLP and ICNS hold a JPEG, a PNG or a JPEG 2000 image whose size their header does not tell.
- BUFR, GRIB, HDF5, MPEG and PDF cannot be decoded by Pillow at all.
- FITS, FLI, FTEX, GBR, IM, IMT, MCIDAS, MSP, PCD, PIXAR, SPIDER, XBM, XPM and XVTHUMB are no
  formats of photos; some have no signature and would claim any file.
"""

from __future__ import annotations

# Tried first: these need no further plugin to be imported.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")

# Decoded piece by piece, so that a deadline ends it; `scans` bounds the scans of JPEGs. ICO and
# CUR hold a PNG or a bitmap, which Pillow reads by these two classes and no others.
_BY_PIECES = (*COMMON_FORMATS, "MPO", "DIB", "ICO", "CUR", "TGA", "PCX", "DCX")

# Decoded as a whole, partly while no other thread can run. Pixels up to which that takes some
# tenths of a second, whatever the file contains; larger ones are decoded in a child process.
_AS_A_WHOLE = {
    "TIFF": 16_000_000,
    "WEBP": 12_000_000,
    "AVIF": 4_000_000,
    "JPEG2000": 300_000,
    "PSD": 16_000_000,
    "SGI": 16_000_000,
    "SUN": 16_000_000,
    "QOI": 250_000,
    "DDS": 1_000_000,
}

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif"),
    *(".tiff", ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".qoi"),
)
"""Only for recognising what is meant as an image; reading depends on the content alone."""

ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"),
)
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")

JPEG_FORMATS = frozenset({"JPEG", "MPO"})

ALLOWED_FORMATS = frozenset({*_BY_PIECES, *_AS_A_WHOLE})
"""Names of Pillow's formats."""


def is_slow(name: str | None, pixels: int) -> bool:
    """Return whether an image of a format may take long and cannot be interrupted."""
    if name == "HEIF":
        return True
    return pixels > _AS_A_WHOLE.get(name or "", pixels)
