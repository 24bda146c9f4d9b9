"""Internal: non-blocking connections with names, addresses, sockets and TLS. Nothing in this folder knows HTTP."""
