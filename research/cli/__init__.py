"""The commands: one module each, and one wrapper around all."""
