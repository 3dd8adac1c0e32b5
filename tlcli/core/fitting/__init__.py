"""The final layer as a job asks for it: any solver, scaled features, weighted labels.

What measures and what retrains may import it; it imports the final layer and the foundations.
"""
