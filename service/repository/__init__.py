"""Raw SQL and nothing else: one function for each call of the database."""
