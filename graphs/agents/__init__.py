"""Agents: a model that works on a task with tools, turn by turn, until it answers. Every turn and every call is a step of the journal."""
