"""Measures what many machines need, and simulates runs on them.

Nothing imports it but its own tests.
"""
