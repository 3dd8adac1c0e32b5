"""Aerial views of houses, painted by random numbers."""
