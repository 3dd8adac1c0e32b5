"""Final layers with an independent sigmoid per label, and the thresholds of their scores.

`tlcli.core.fitting` and the jobs may import it.
"""
