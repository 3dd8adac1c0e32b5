"""Vectors computed by shards: by array jobs, or on a cluster, before a layer is fitted.

The command and the job may import it.
"""
