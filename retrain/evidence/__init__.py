"""What a report shows of the photos themselves: heat maps, and findings about wrong or odd ones.

The steps of a retraining and the command that checks photos import it; it imports inputs.
"""
