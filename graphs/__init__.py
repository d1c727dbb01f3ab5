"""What runs: definitions, expressions, checks, node types, the compiler to LangGraph and the engine."""
