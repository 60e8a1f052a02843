"""Buses: how those who wait hear of those who change."""
