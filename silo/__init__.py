"""Silo: the privacy layer between a few organisations that learn together."""
