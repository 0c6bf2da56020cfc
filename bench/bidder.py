"""Starts the bidder for a measurement: own Redis, own catalog, own folder."""
import dataclasses
import subprocess
import time
import urllib.error

import catalog_gen
import servers
from servers import RELEASE, SERVER_CORE

# Of 20,000 bids/s nothing is heard for ten minutes unless they win.
MAX_OPEN_BIDS = 1 << 24
SECRET = "a-secret-of-the-benchmark-only-0123456789"


@dataclasses.dataclass
class Started:
    process: servers.Process
    redis: servers.Redis
    url: str
    metrics_url: str
    ready_s: float
    bidding_s: float  # until most requests get a bid: budgets are leased in parts, over some time
    catalog_bytes: int

    def in_real_time(self):
        return servers.in_real_time(self.process, self.redis)


def is_ready(admin):
    try:
        servers.http_get(admin + "/readyz", timeout=2)
        return True
    except (urllib.error.URLError, OSError):
        return False


def wait_for_bids(bench, url, seconds=120):
    """A trickle of requests of persons nobody else meets, until most get a bid."""
    until = time.monotonic() + seconds
    while True:
        result = bench.load(url, "--rate", 200, "--warmup", 0, "--person-salt", 999, seconds=0.2,
                            connections=4)
        if result["outcomes"]["bid"] > result["due"] / 2:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"no bids after {seconds} s: {result['outcomes']}")


def fill_persons(redis, persons, exposures):
    """Each of jointcap-load's persons gets a record; how long it took. The append-only file is not
    rewritten on the way: a fork in the middle of a measurement says nothing about it."""
    redis.command("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
    began = time.monotonic()
    subprocess.run([RELEASE / "bench/fill_persons", f"unix:{redis.socket}", SECRET, str(persons),
                    str(exposures)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def start(bench, stack, lines, env=None, core=SERVER_CORE, **more_options):
    """One worker, with caps, budgets, event log and Redis on. None, with a word, while there is no
    bidder to measure. The stack stops what was started."""
    program = RELEASE / "jointcap"
    if not program.exists():
        bench.say(f"  {program} is not built, left out")
        return None
    folder = bench.new_folder(f"jointcap-{lines}")
    redis = stack.enter_context(servers.Redis(folder / "redis"))
    catalog = folder / "catalog.json"
    catalog_gen.write_catalog(catalog, lines)
    for name in ("state", "events"):
        (folder / name).mkdir()
    port, admin_port = servers.free_port(), servers.free_port()
    options = {"listen": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{admin_port}", "workers": 1,
               "redis": f"unix:{redis.socket}", "catalog": catalog, "secret": SECRET,
               "public_url": f"http://127.0.0.1:{port}", "state_dir": folder / "state",
               "event_log": folder / "events", "log_level": "warn",
               "max_open_bids": MAX_OPEN_BIDS, **more_options}
    began = time.monotonic()
    process = stack.enter_context(servers.Process(
        "jointcap", [program, *(f"--{name}={value}" for name, value in options.items())],
        core, folder / "log", env))
    admin = f"http://127.0.0.1:{admin_port}"
    try:
        servers.wait_for(lambda: is_ready(admin), process.popen, "jointcap", seconds=120)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{(folder / 'log').read_text()[-2000:]}") from error
    ready_s = time.monotonic() - began
    url = f"http://127.0.0.1:{port}/openrtb2/bench"
    wait_for_bids(bench, url)
    return Started(process, redis, url, admin + "/metrics", ready_s, time.monotonic() - began,
                   catalog.stat().st_size)
