"""Bytes in, facts out. Nothing in this folder knows a socket, a selector or a clock."""
