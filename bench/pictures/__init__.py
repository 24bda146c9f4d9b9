"""The pictures, one module for each subcommand: they know figures, never how these came about."""
