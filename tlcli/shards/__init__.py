"""Shards: a list of images cut into pieces, and what computes the part file of each.

The commands and the runners may import it; it imports `tlcli.core`, and knows no engine of
distributed work.
"""
