"""What discriminant analysis is made of: sums or products of labelled rows, and a temperature.

`discriminant_analysis.py`, one folder up, puts them together; others may use the sums.
"""
