"""A holder is the small process that owns one command: its terminal or pipes, its descendants, its spool, its ending.

It uses the standard library alone, and of that only what starts quickly: a run begins when its holder has started.
"""
