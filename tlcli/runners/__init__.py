"""Runners: what does pieces of work, on this machine or on a Ray cluster.

The commands may import it; it imports the foundations only, and knows nothing of the work.
"""
