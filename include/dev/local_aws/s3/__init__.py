"""Local S3 server, and a proxy that injects faults."""
