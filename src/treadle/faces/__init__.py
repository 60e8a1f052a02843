"""The faces: each is one public API, spoken to its unmodified clients; no face knows another."""
