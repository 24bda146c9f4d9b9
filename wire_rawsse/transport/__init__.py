"""Non-blocking connections: names, addresses, sockets and TLS. Nothing in this folder knows HTTP."""
