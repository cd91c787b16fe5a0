"""Many streams at once, in one thread. `python -m bench.client URL STREAMS [KEYS]` prints as JSON the seconds until the
first event and until the end of each.

Without a file of keys the upstream itself is asked."""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

BODY = json.dumps(
    {
        "model": "claude-paced",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
).encode()


async def ask(url: str, key: str) -> tuple[float, float]:
    place = urlsplit(url)
    began_at = time.perf_counter()
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(
        f"POST /v1/messages HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        + BODY
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"{head.decode()}\n{await reader.read(1000)!r}")
    received = await reader.read(65536)
    first_s = time.perf_counter() - began_at
    while not received.endswith(b"0\r\n\r\n"):
        piece = await reader.read(65536)
        if not piece:
            raise SystemExit(f"A stream broke off: {received[-300:]!r}")
        received += piece
    total_s = time.perf_counter() - began_at
    writer.close()
    if b"event: message_stop" not in received or b"event: error" in received:
        raise SystemExit(f"A stream has failed: {received[-300:]!r}")
    return first_s, total_s


async def main(url: str, count: int, keys: list[str]) -> None:
    results = await asyncio.gather(*(ask(url, keys[number % len(keys)]) for number in range(count)))
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    given = Path(sys.argv[3]).read_text().split() if len(sys.argv) > 3 else ["none"]
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), given))
