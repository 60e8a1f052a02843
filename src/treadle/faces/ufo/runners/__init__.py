"""Session runners: what turns a request into commands for a device and an outcome. `choosing` is the way in."""
