"""Findings about photos with several labels each: labels that they have wrongly, or lack.

`retrain.evidence` and benchmarks may import it; it imports the findings about one label per photo.
"""
