"""The console: what an operator looks at and does, for a browser. Its pages do what the `obol` command and the admin
API do, through the same functions; a file for each page."""

from ..guarded import Pages, console_auth

blueprint = Pages("console", console_auth)
