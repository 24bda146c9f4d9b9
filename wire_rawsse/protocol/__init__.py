"""Internal: URLs, HTTP and event streams as bytes and values. Nothing in this folder knows a socket or a clock."""
