"""What agents remember: conversations, entities, episodes, facts, graphs, documents and vectors (docs/memory.md)."""
