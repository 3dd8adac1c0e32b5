"""The options of labelling: what the command line takes, and which of it go together.

Only `label` imports it.
"""
