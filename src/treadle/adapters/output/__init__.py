"""Where what tasks print is kept."""
