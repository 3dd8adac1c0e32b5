"""A bucket of any number of objects that do not exist: an S3 server that only lists.

Pages are made when they are asked for, of 1000 keys as S3 makes them, and sent over HTTP.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from benchmarks.machines.names import name_of

PAGE = 1000
PREFIX = "photos/"
# Read back by nobody; they open nothing.
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "loopback",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def page(count: int, start: int) -> bytes:
    """Return the page of a bucket of ``count`` objects that begins with number ``start``."""
    stop = min(start + PAGE, count)
    rows = "".join(
        f"<Contents><Key>{PREFIX}{name_of(number)}</Key>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{number:032x}"</ETag><Size>{100_000 + number % 1000}</Size>'
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(start, stop)
    )
    more = "true" if stop < count else "false"
    token = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < count else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>bucket</Name><Prefix>{PREFIX}</Prefix><KeyCount>{stop - start}</KeyCount>"
        f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{more}</IsTruncated>{token}{rows}"
        "</ListBucketResult>"
    ).encode()


@contextmanager
def served(count: int) -> Iterator[dict[str, str]]:
    """Run the server in a process of its own; yield the environment of who lists from it."""
    command = [sys.executable, "-m", "benchmarks.machines.bucket", str(count)]
    root = Path(__file__).resolve().parents[2]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield {**SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        server.terminate()
        server.communicate()


def main() -> None:
    count = int(sys.argv[1])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes, and the second would wait for an answer to the first.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            body = page(count, int(query.get("continuation-token", ["0"])[0]))
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
