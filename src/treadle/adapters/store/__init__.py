"""Stores: where the truth lies. Both keep the same promises, and one suite of tests holds them to it."""
