"""What the cache folder holds, piece by piece, and how it is kept below a limit.

The commands import it; it imports the rooms that write the pieces.
"""
