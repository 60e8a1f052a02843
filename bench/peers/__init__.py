"""The job libraries and the practical limit that Treadle is measured beside, each run as its own users run it.

They live in an environment of their own (`bench/peers/.venv`); nothing in here is imported by Treadle or its bench.
"""
