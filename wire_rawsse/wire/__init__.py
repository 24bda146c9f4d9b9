"""Internal: everything specific to wire, which is the places of its files, their content, and its changes."""
