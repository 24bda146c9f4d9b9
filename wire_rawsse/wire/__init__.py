"""Everything specific to wire: the places of its files, their content, and when it changes."""
