"""What discriminant analysis is made of: sums or products of labelled rows, and a temperature.

The final layer and what measures may import it; it imports positive definite systems and samples.
"""
