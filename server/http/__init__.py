"""The HTTP door: operations as data, one list of them, folded into routes and an OpenAPI document."""
