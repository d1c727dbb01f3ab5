"""The store: schema, tenant scope, embedded server, identities, workflows."""
