"""Benchmarks of Treadle and the peers they are paired with; nothing in here is part of the product."""
