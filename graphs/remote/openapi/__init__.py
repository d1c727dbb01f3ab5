"""OpenAPI 3.0 and 3.1 documents as tools: read, pinned, and called through the outbound client."""
