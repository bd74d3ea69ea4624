"""The small HTTP server under all simulated services. It imports nothing of the sandbox and knows no service."""
