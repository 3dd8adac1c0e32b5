"""The values of ``--fine_tune``, without anything that takes long to import."""

FINE_TUNES = ("none", "auto", "head_blocks", "all")
"""Which part of a network is trained; "auto" tries "head_blocks", then "all", if either helps."""
