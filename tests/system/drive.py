"""What the system checks share: connections that come back, a Redis that keeps its data as
deploy/redis.conf says and can be killed and started again, a fold of metrics into a line."""
import asyncio
import pathlib
import re
import shutil
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))
import harness  # noqa: E402


class Connection:
    """One keep-alive connection; reopened when it is lost."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.reader = self.writer = None

    async def exchange(self, data):
        """(status, body) or None when the connection broke under the request."""
        try:
            if not self.writer:
                self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
            self.writer.write(data)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
            return int(head[9:12]), body
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return None

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


class Pool:
    """Connections, the last used first."""

    def __init__(self, host, port, count):
        self.free = asyncio.LifoQueue()
        for _ in range(count):
            self.free.put_nowait(Connection(host, port))

    async def send(self, data):
        connection = await self.free.get()
        try:
            return await connection.exchange(data)
        finally:
            self.free.put_nowait(connection)

    async def get(self, path):
        return await self.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())

    async def post(self, path, body):
        return await self.send(post_bytes(path, body))


def post_bytes(path, body):
    return (f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


class DurableRedis(harness.Redis):
    """redis-server with deploy/redis.conf (append-only file, synced each second)."""

    def __init__(self, folder):  # pylint: disable=super-init-not-called
        self.folder = folder
        self.socket = f"{folder}/redis.sock"
        self.address = f"unix:{self.socket}"
        self.start()

    def start(self):
        harness.Process.__init__(
            self, [shutil.which("redis-server") or "redis-server", ROOT / "deploy/redis.conf",
                   "--unixsocket", self.socket, "--dir", self.folder, "--maxmemory", "1gb",
                   "--loglevel", "warning"], f"{self.folder}/redis.log")
        harness.wait_until(lambda: self.answers() or not self.running(), "redis-server")
        if not self.running():
            raise AssertionError(f"redis-server ended:\n{self.text()[-2000:]}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def labelled(grown, name):
    """'label 12  other 3' of the series of a metric that grew."""
    return "  ".join(f"{re.search(chr(34) + '(.*)' + chr(34), series)[1]} {growth:.0f}"
                     for series, growth in sorted(grown.items())
                     if series.startswith(name + "{")) or "none"


def noon_timezone():
    """A timezone where it is about noon now, so that no run meets a midnight."""
    ahead = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"
