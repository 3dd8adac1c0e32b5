"""How unlike the training images a vector is: a small block of numbers, and a threshold.

What retrains fits it and `tlcli.core.export` writes it; it imports the final layer and foundations.
"""
