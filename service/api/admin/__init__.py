"""/api/v1/admin: what the `obol` command does, for programs with a token; a file for each resource."""
