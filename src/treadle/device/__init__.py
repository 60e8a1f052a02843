"""This machine as a device of an agent server: it registers over a WebSocket (AIP), runs the tools it is asked to run,
and keeps what it could not deliver.
"""
