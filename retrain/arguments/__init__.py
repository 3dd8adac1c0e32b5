"""What a retraining is asked for: its options, their values and defaults.

The steps of the job and its command import it; it imports the checks of the rooms beside it.
"""
