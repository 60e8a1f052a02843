"""A terminal without a window: what a program prints becomes fragments and snapshots of safe HTML."""
