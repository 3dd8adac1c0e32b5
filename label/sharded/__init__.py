"""Images labelled by shards into part files: by array jobs, or on a cluster.

The command imports it; it imports `tlcli.runners`, `tlcli.shards` and the rooms below them.
"""
