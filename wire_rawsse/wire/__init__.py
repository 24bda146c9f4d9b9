"""Internal: wire's files: their paths, their content, and changes to them. Only this package knows wire."""
