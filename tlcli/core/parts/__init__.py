"""Part files: the vectors of one shard of a list of images as one Parquet file.

The cache and what computes shards may import it; it imports the foundations only.
"""
