"""Stores of values under keys, shared by several machines and quicker to ask than a database far away."""
