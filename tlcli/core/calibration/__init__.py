"""Scores that mean what they say: the temperature of scores, and how far they are from the truth.

The final layer and all that measures may import it; it imports arrays alone.
"""
