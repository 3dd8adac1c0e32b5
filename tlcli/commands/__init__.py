"""The small commands, and what commands share."""
