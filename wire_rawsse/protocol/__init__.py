"""Internal: HTTP/1.1, URLs and event streams as bytes in and values out. Knows no socket, no selector and no clock."""
