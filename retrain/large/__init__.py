"""Retrainings whose vectors are larger than the memory: where vectors are, and what is refused.

The other files of `retrain` may import it; it imports its options and sources.
"""
