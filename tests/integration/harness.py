"""Real servers for the integration tests: a private redis-server and a jointcap per test, on free
ports and sockets in a temp dir, stopped by their own process ids.

    class MyTest(harness.Case):
        def test_it(self):
            jointcap = self.jointcap()                   # starts Redis too, waits until ready
            before = jointcap.metrics()
            status, headers, body = jointcap.post("/openrtb2/generic", request_dict)
            self.assertEqual(jointcap.delta(before, 'jointcap_http_requests_total'), 1)

Every wait polls for a condition with a limit; nothing sleeps for luck. JOINTCAP_VARIANT=release
(or asan, debug) chooses the build; the default is asan.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / os.environ.get("JOINTCAP_VARIANT", "asan")
JOINTCAP = BUILD / "jointcap"
JOINTCAPCTL = BUILD / "jointcapctl"
CATALOG = ROOT / "deploy/catalog.json"
TOKEN = "test-admin-token"
SECRET = "0123456789abcdef0123456789abcdef"
WAIT_SECONDS = 30
NO_MONEY = "not every worker has its first budget leases"


def wait_until(condition, what, seconds=WAIT_SECONDS):
    """Polls until condition() is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.01)


def ref_of(text):
    """The stable 32-bit ref of a catalog id (hash_str, cap_ref32): FNV-1a, then splitmix64's mix,
    upper half."""
    mask = (1 << 64) - 1
    value = 0xcbf29ce484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001b3 & mask
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & mask
    value = (value ^ value >> 27) * 0x94d049bb133111eb & mask
    return (value ^ value >> 31) >> 32


class Process:
    """A child process with its output in a file."""

    def __init__(self, command, log, env=None):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen([str(part) for part in command], stdout=output,
                                            stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT,
                                            env=env)
        self.pid = self.process.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def wait(self, seconds=WAIT_SECONDS):
        return self.process.wait(seconds)

    def stop(self, number=signal.SIGTERM):
        if self.running():
            self.process.send_signal(number)
            try:
                self.process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.log.name} did not stop:\n{self.text()[-4000:]}")
        return self.process.returncode


class Redis(Process):
    """redis-server on a unix socket, nothing saved."""

    def __init__(self, folder, name="redis"):
        self.socket = f"{folder}/{name}.sock"
        self.address = f"unix:{self.socket}"
        super().__init__(
            [shutil.which("redis-server") or "redis-server", "--port", "0", "--unixsocket",
             self.socket, "--save", "", "--appendonly", "no", "--dir", folder, "--daemonize", "no",
             "--loglevel", "warning"], f"{folder}/{name}.log")
        wait_until(self.answers, "redis-server")

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def command(self, *args):
        """One command; replies as Python values (str, int, None, list)."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT_SECONDS)
            sock.connect(self.socket)
            parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
            sock.sendall(b"*%d\r\n" % len(parts) +
                         b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            with sock.makefile("rb") as reader:
                return self._reply(reader)

    def _reply(self, reader):
        line = reader.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind in (b"+", b"-"):
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            data = reader.read(int(rest) + 2)[:-2]
            return data.decode("latin-1")
        if kind == b"*":
            return [self._reply(reader) for _ in range(int(rest))]
        raise OSError(f"odd reply {line!r}")


class Jointcap(Process):
    """The bidder; options are given as name=value keywords."""

    def __init__(self, folder, redis=None, name="jointcap", wait=True, env=None, **options):
        self.folder = pathlib.Path(folder)
        values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "workers": 2,
                  "secret": SECRET, "admin_token": TOKEN, "state_dir": f"{folder}/{name}-state",
                  "catalog": CATALOG, "drain_timeout": "10s", "drain_grace": "200ms",
                  # A busy machine is late; tests about lateness set their own.
                  "shed_lag": "10s", "redis_timeout": "2s"}
        if redis:
            values["redis"] = redis if isinstance(redis, str) else redis.address
        values.update(options)
        environment = dict(os.environ if env is None else env)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        super().__init__([JOINTCAP] + [f"--{key}={value}" for key, value in values.items()],
                         f"{folder}/{name}.log", environment)
        self.workers = int(values["workers"])
        self.host = self.port = self.admin_host = self.admin_port = None
        if wait:
            self.wait_ready()

    def _find_addresses(self):
        found = re.search(r"bidding on ([^ ]+):(\d+), admin on ([^ ]+):(\d+),", self.text())
        if found:
            self.host, self.port = found[1], int(found[2])
            self.admin_host, self.admin_port = found[3], int(found[4])
        elif not self.running():
            raise AssertionError(f"jointcap ended:\n{self.text()[-4000:]}")
        return bool(found)

    def wait_listening(self):
        wait_until(self._find_addresses, "the listening sockets")

    def wait_ready(self):
        self.wait_listening()

        def ready():
            if not self.running():
                raise AssertionError(f"jointcap ended:\n{self.text()[-4000:]}")
            return self.readyz()[0] == 200

        wait_until(ready, "readiness")

    def wait_serving(self):
        """Weaker than ready: requests are answered, perhaps without money to bid yet."""
        self.wait_listening()

        def serving():
            reasons = self.readyz()[1].get("reasons")
            return self.running() and reasons is not None and not set(reasons) - {NO_MONEY}
        wait_until(serving, f"serving; the log says:\n{self.text()[-4000:]}")

    # --- requests ---

    def connect(self, timeout=WAIT_SECONDS):
        """A plain socket to the bidding port."""
        sock = socket.create_connection((self.host, self.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(self, method, path, body=None, headers=None, admin=False):
        """(status, headers, body bytes) over a connection of its own."""
        connection = http.client.HTTPConnection(self.admin_host if admin else self.host,
                                                self.admin_port if admin else self.port,
                                                timeout=WAIT_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, body, headers=None, **kwargs):
        """body: bytes, str, or something that becomes JSON."""
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        return self.request("POST", path, body,
                            {"Content-Type": "application/json", **(headers or {})}, **kwargs)

    def bid(self, exchange, request, **kwargs):
        """(status, response object or None)."""
        status, _, body = self.post(f"/openrtb2/{exchange}", request, **kwargs)
        return status, json.loads(body) if body else None

    # --- admin ---

    def admin(self, method, path, body=None, token=TOKEN, headers=None):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.request(method, path, body, headers, admin=True)

    def readyz(self):
        try:
            status, _, body = self.admin("GET", "/readyz", token=None)
            return status, json.loads(body)
        except OSError:
            return 0, {}

    def load_catalog(self, catalog):
        """Catalog: text or object. (status, answer object)."""
        text = catalog if isinstance(catalog, (str, bytes)) else json.dumps(catalog)
        status, _, body = self.admin("POST", "/catalog", text)
        return status, json.loads(body)

    def metrics(self):
        """{'name{label="value"}': number}."""
        status, _, body = self.admin("GET", "/metrics", token=None)
        if status != 200:
            raise AssertionError(f"/metrics answers {status}")
        return parse_metrics(body.decode())

    def delta(self, before, name):
        """How much one series has grown since; a series that is not there counts as 0."""
        return self.metrics().get(name, 0) - before.get(name, 0)

    def deltas(self, before):
        """{series: growth} of all that changed."""
        now = self.metrics()
        return {name: value - before.get(name, 0) for name, value in now.items()
                if value != before.get(name, 0)}

    def worker_pids(self):
        """The live children, by /proc."""
        pids = []
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            pids += [int(pid) for pid in (task / "children").read_text().split()]
        return pids


SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)")


def is_person(key):
    """Is a key of Redis, as KEYS names it, that of a person's record?"""
    return len(key) == 14 and key[0] >= "\x80"


def parse_metrics(text):
    """Prometheus text 0.0.4, strictly: every series has a TYPE and is there once."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name in types:
                raise AssertionError(f"{name} has two types")
            types[name] = kind
        elif line.startswith("# HELP "):
            pass
        else:
            found = SERIES.fullmatch(line)
            if not found:
                raise AssertionError(f"not a metric: {line!r}")
            base = re.sub(r"_(bucket|sum|count)$", "", found[1])
            if found[1] not in types and types.get(base) != "histogram":
                raise AssertionError(f"{found[1]} has no type")
            series = found[1] + (found[2] or "")
            if series in values:
                raise AssertionError(f"{series} is there twice")
            values[series] = float(found[3])
    return values


class Case(unittest.TestCase):
    """Gives each test a temp dir and stops what it started. A sanitizer's report or a BUG line in
    a log fails the test."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="jointcap-test-")
        self.started = []
        self._redis = None

    def tearDown(self):
        problems = []
        for process in reversed(self.started):
            try:
                process.stop()
            except AssertionError as late:
                problems.append(str(late))
            text = process.text()
            if re.search(r"^BUG |(ERROR|WARNING): \w+Sanitizer|runtime error:", text, re.M):
                problems.append(f"{process.log.name}:\n{text[-6000:]}")
        shutil.rmtree(self.folder, ignore_errors=True)
        if problems:
            self.fail("\n".join(problems))

    def redis(self):
        """The test's Redis, started when first asked for."""
        if not self._redis:
            self._redis = Redis(self.folder)
            self.started.append(self._redis)
        return self._redis

    def jointcap(self, redis=None, **options):
        wait = options.pop("wait", True)
        process = Jointcap(self.folder, redis or self.redis(),
                           f"jointcap{len(self.started)}", wait=False, **options)
        self.started.append(process)
        if wait == "serving":
            process.wait_serving()
        elif wait:
            process.wait_ready()
        return process

    def run_program(self, *args, env=None, **kwargs):
        """Runs the bidder's program to its end: a CompletedProcess with text output."""
        return subprocess.run([str(JOINTCAP), *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=WAIT_SECONDS, env=env,
                              check=False, **kwargs)
