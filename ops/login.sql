-- The service's login, for compose.yaml, at each start: made if it is missing, with the password of the
-- environment, and set as docs/operating.md has it.
SELECT 'CREATE ROLE obol_login' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'obol_login') \gexec
ALTER ROLE obol_login LOGIN PASSWORD :'password';
GRANT obol_service TO obol_login;
ALTER ROLE obol_login SET statement_timeout = '30s';
ALTER ROLE obol_login SET track_activities = off;
ALTER ROLE obol_login SET log_min_error_statement = panic;
