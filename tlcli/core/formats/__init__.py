"""A classifier as files of other programs' formats, each run again and compared with the graph.

Only commands and the two jobs import this room; it knows no command line.
"""
