"""Postgres: pool, tenant scope, group-committed journal, and one <noun>.sql + <noun>.py pair per noun."""
