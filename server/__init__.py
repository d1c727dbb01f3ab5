"""Doors and processes: MCP, HTTP, CLI, worker, authentication, settings."""
