"""Processes of a measurement: started on a given core, waited for, stopped by their own id."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / "build/release"
SERVER_CORE = 0
LOAD_CORE = 1
# Real-time priorities, while used: the generator stands for machines elsewhere, so it gives way.
SERVER_PRIORITY = 2
LOAD_PRIORITY = 1
real_time = False  # whether in_real_time() means it; bench.py decides
is_real_time = False  # inside in_real_time(): what is started meanwhile gets a priority, too


def may_be_real_time():
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return True
    except OSError:
        return False


def settle(core, priority):
    """In a child before it runs its program: its core, and its priority while they are used."""
    os.sched_setaffinity(0, {core})
    if is_real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))


@contextlib.contextmanager
def in_real_time(*processes):
    """Runs the processes with real-time priority, as deploy/ recommends. For fixed rates only: who
    fills a core that way is stopped by the kernel for 50 ms of each second (sched_rt_runtime_us), and
    until then nobody else gets the core."""
    global is_real_time
    is_real_time = real_time
    for process in processes if real_time else ():
        process.schedule(os.SCHED_RR, SERVER_PRIORITY)
    try:
        yield
    finally:
        is_real_time = False
        for process in processes if real_time else ():
            process.schedule(os.SCHED_OTHER, 0)


@contextlib.contextmanager
def awake(cores, wanted=True):
    """Keeps cores from halting by loops of the lowest priority, as idle=poll does on real machines:
    a virtual core that halts must be woken by the host, which takes its time."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                              preexec_fn=lambda core=core: (
                                  os.sched_setaffinity(0, {core}),
                                  os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))))
             for core in (cores if wanted else ())]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(ready, process, what, seconds=30):
    until = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        if time.monotonic() > until:
            raise RuntimeError(f"{what} was not ready within {seconds} s")
        time.sleep(0.005)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


class Process:
    """A child on one core; `with` stops it."""

    def __init__(self, name, command, core, log, env=None, reset_on_fork=False):
        self.name = name
        self.reset_on_fork = os.SCHED_RESET_ON_FORK if reset_on_fork else 0
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(
            [str(part) for part in command], stdout=self.log, stderr=self.log,
            stdin=subprocess.DEVNULL, env=env,
            preexec_fn=lambda: settle(core, SERVER_PRIORITY))

    @property
    def pid(self):
        return self.popen.pid

    def family(self):
        """This process and what it forked."""
        pids = [self.pid]
        for pid in pids:
            try:
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
                pids += [int(child) for child in children.split()]
            except OSError:
                pass
        return pids

    def schedule(self, policy, priority):
        """All threads of the family."""
        for pid in self.family():
            with contextlib.suppress(OSError):  # a thread may end meanwhile
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setscheduler(int(thread), policy | self.reset_on_fork,
                                          os.sched_param(priority))

    def cpu_s(self):
        ticks = 0
        for pid in self.family():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        """Proportional, so that what forked workers share counts once."""
        total = 0
        for pid in self.family():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) * 1024
        return total

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def read_reply(reader):
    line = reader.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else reader.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [read_reply(reader) for _ in range(int(rest))]
    return rest


class Redis(Process):
    """A private redis-server from deploy/redis.conf: unix socket and files in the folder."""

    def __init__(self, folder, core=LOAD_CORE):
        folder.mkdir()
        self.socket = folder / "redis.sock"
        super().__init__("redis", ["redis-server", ROOT / "deploy/redis.conf", "--dir", folder,
                                   "--unixsocket", self.socket, "--maxmemory", "0",
                                   "--loglevel", "warning"], core, folder / "log",
                         reset_on_fork=True)  # a rewrite of its file must not compete
        wait_for(self.answers, self.popen, "redis-server")

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def call(self, *parts):
        """One command; the reply as int, bytes, None or a list of them."""
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(60)
            peer.connect(str(self.socket))
            peer.sendall(b"*%d\r\n" % len(parts) + packed)
            with peer.makefile("rb") as reader:
                return read_reply(reader)

    def command(self, *parts):
        """The same for a reply that is one text."""
        reply = self.call(*parts)
        return reply.decode() if isinstance(reply, bytes) else str(reply)

    def config(self, name):
        """One setting as it is in force."""
        return self.call("CONFIG", "GET", name)[1].decode()

    def keys_like(self, pattern):
        """(how many keys are like it, mean MEMORY USAGE of up to 2,000 of them)"""
        count, cursor, sizes = 0, b"0", []
        while True:
            cursor, keys = self.call("SCAN", cursor, "MATCH", pattern, "COUNT", 10000)
            count += len(keys)
            sizes += [self.call("MEMORY", "USAGE", key) or 0 for key in keys[:20]][:2000 - len(sizes)]
            if cursor == b"0":
                return count, sum(sizes) / len(sizes) if sizes else 0

    def info(self, section):
        rows = (line.split(":", 1) for line in self.command("INFO", section).splitlines()
                if ":" in line)
        return dict(rows)

    def commands(self):
        """{command: (calls, microseconds)} since the start; a function's own commands count too."""
        found = {}
        for name, row in self.info("commandstats").items():
            values = dict(part.split("=") for part in row.split(","))
            found[name.removeprefix("cmdstat_")] = (int(values["calls"]), int(values["usec"]))
        return found

    def keys(self):
        return self.call("DBSIZE")

    def used_bytes(self):
        return int(self.info("memory")["used_memory"])


def fill(template, target, **values):
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    target.write_text(text)
    return target


def floor_server(program, folder):
    port = free_port()
    server = Process(program, [RELEASE / "bench" / program, port], SERVER_CORE, folder / "log")
    wait_for(lambda: accepts(port), server.popen, program)
    return server, f"http://127.0.0.1:{port}/"


def nginx(name, template, folder, **values):
    """None when nginx or a module is not installed."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        return None
    port = free_port()
    conf = fill(ROOT / "bench/floor" / template, folder / "nginx.conf", DIR=folder, PORT=port,
                MODULES="/usr/lib/nginx/modules", **values)
    command = [program, "-p", folder, "-c", conf]
    if subprocess.run([*command, "-t"], capture_output=True).returncode:
        return None
    server = Process(name, command, SERVER_CORE, folder / "log")
    wait_for(lambda: accepts(port), server.popen, name)
    return server, f"http://127.0.0.1:{port}/"


def http_get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()
