"""Internal: non-blocking connections: names, addresses, sockets and TLS. Knows no HTTP."""
