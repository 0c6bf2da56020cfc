#!/usr/bin/env python3
"""Starts a private Redis and the bidder with deploy/catalog.json, sends it sample bid requests and
prints the answers so that a person can read them.

  demo.py            and stop again           (make demo)
  demo.py --stay     and stay up until Ctrl-C (make run)

Everything it writes lies in run/ (make run) or in a temporary folder (make demo); nothing else of
the machine is touched.
"""
import argparse
import copy
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / os.environ.get("JOINTCAP_VARIANT", "release")
PROGRAM = BUILD / "jointcap"
CTL = BUILD / "jointcapctl"
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")

DEVICE = {"ua": "Mozilla/5.0 (Linux; Android 14; Demo) AppleWebKit/537.36", "ip": "192.0.2.17",
          "os": "Android", "osv": "14", "language": "zh", "connectiontype": 2, "devicetype": 4,
          "ifa": "3f2a9c1e-7a10-4c1d-9d6e-0123456789ab",
          "geo": {"lat": 31.2304, "lon": 121.4737, "country": "CHN", "city": "Shanghai"}}
VIDEO_APP = {"id": "app-1", "bundle": "com.longvideo.example", "domain": "longvideo.example",
             "publisher": {"id": "pub-1"}, "content": {"title": "Episode 3", "language": "zh"}}
PDB_VIDEO = {
    "id": "demo-pdb", "at": 1, "tmax": 200, "cur": ["CNY"],
    "imp": [{"id": "1", "tagid": "preroll-15", "secure": 1, "bidfloor": 3, "bidfloorcur": "CNY",
             "video": {"mimes": ["video/mp4"], "minduration": 5, "maxduration": 30, "w": 640,
                       "h": 480, "protocols": [2, 3, 5, 6, 7, 8, 11, 12, 13], "startdelay": 0,
                       "linearity": 1},
             "pmp": {"private_auction": 1, "deals": [
                 {"id": "PDB-2026-IQ-001", "bidfloor": 25, "bidfloorcur": "CNY", "at": 3,
                  "guar": 1},
                 {"id": "PD-2026-IQ-017", "bidfloor": 18.5, "bidfloorcur": "CNY", "at": 1}]}}],
    "app": VIDEO_APP, "device": DEVICE}
BANNER = {
    "id": "demo-banner", "at": 1, "tmax": 200, "cur": ["CNY"],
    "imp": [{"id": "1", "secure": 1, "bidfloor": 2, "bidfloorcur": "CNY",
             "banner": {"w": 300, "h": 250, "format": [{"w": 300, "h": 250}]}}],
    "site": {"id": "site-1", "domain": "news.example", "page": "https://news.example/today"},
    "device": DEVICE}
NATIVE = {
    "id": "demo-native", "at": 1, "tmax": 200, "cur": ["CNY"],
    "imp": [{"id": "1", "secure": 1, "bidfloor": 0.5, "bidfloorcur": "CNY", "native": {
        "ver": "1.2", "request": json.dumps({"ver": "1.2", "assets": [
            {"id": 1, "required": 1, "title": {"len": 60}},
            {"id": 2, "required": 1, "img": {"type": 3, "wmin": 600, "hmin": 300}},
            {"id": 3, "required": 0, "data": {"type": 2, "len": 140}}],
            "eventtrackers": [{"event": 1, "methods": [1]}]})}}],
    "site": {"id": "site-1", "domain": "news.example", "page": "https://news.example/today"},
    "device": DEVICE}


def changed(request, **members):
    made = copy.deepcopy(request)
    made.update(members)
    return made


def samples():
    """(what it shows, exchange, body)"""
    yield ("A guaranteed pre-roll with two deals: the medium must be answered, three brands take turns",
           "iqiyi", PDB_VIDEO)
    yield ("The same person a moment later: the next brand's turn; the joint count goes on",
           "iqiyi", changed(PDB_VIDEO, id="demo-pdb-again"))
    yield "A banner in the open auction", "openrtb", BANNER
    yield "A native ad: title, picture and text are made from the creative's parts", "openrtb", NATIVE
    yield ("The publisher blocks both advertisers: no bid", "openrtb",
           changed(BANNER, id="demo-blocked", badv=["mondelez.example", "northcar.example"]))
    floor = copy.deepcopy(BANNER)
    floor["imp"][0]["bidfloor"] = 5000
    yield "A floor that no line item pays: no bid", "openrtb", changed(floor, id="demo-floor")
    yield "A body that is cut off: refused", "openrtb", json.dumps(BANNER)[:200]


class Stack:
    """The processes of the demo."""

    def __init__(self, folder, listen, admin):
        self.folder = folder
        self.listen = listen
        self.admin = admin
        self.children = []

    def start(self, name, command):
        log = open(self.folder / f"{name}.log", "ab")
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()
        self.children.append((name, child))
        return child

    def wait(self, child, name, is_ready, seconds=15):
        until = time.monotonic() + seconds
        while not is_ready():
            if child.poll() is not None or time.monotonic() > until:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise SystemExit(f"{name} did not start:\n{log[-3000:]}")
            time.sleep(0.02)

    def up(self):
        redis = self.start("redis", ["redis-server", ROOT / "deploy/redis.conf", "--dir",
                                     self.folder, "--unixsocket", self.folder / "redis.sock"])
        self.wait(redis, "redis", lambda: redis_answers(self.folder / "redis.sock"))
        secret, token = self.secret("secret"), self.secret("token")
        (self.folder / "events").mkdir(exist_ok=True)
        redis_address = f"unix:{self.folder / 'redis.sock'}"
        options = {"listen": self.listen, "admin": self.admin, "secret_file": secret,
                   "admin_token_file": token, "redis": redis_address, "state_dir": self.folder,
                   "catalog": ROOT / "deploy/catalog.json", "event_log": self.folder / "events",
                   "public_url": f"http://{self.listen}"}
        bidder = self.start("jointcap", [PROGRAM, *(f"--{k}={v}" for k, v in options.items())])
        self.wait(bidder, "jointcap", lambda: get(self.admin, "/readyz")[0] == 200)
        environment = {"JOINTCAP_ADMIN": self.admin, "JOINTCAP_REDIS": redis_address,
                       "JOINTCAP_ADMIN_TOKEN": token.read_text(), "JOINTCAP_SECRET_FILE": secret}
        (self.folder / "env").write_text("".join(f"export {name}='{value}'\n"
                                                 for name, value in environment.items()))
        (self.folder / "env").chmod(0o600)
        for name, request in (("banner", BANNER), ("video", PDB_VIDEO), ("native", NATIVE)):
            (self.folder / f"{name}.json").write_text(json.dumps(
                changed(request, device={**DEVICE, "ifa": "a-device-of-your-own"}), indent=2))

    def secret(self, name):
        path = self.folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path

    def down(self):
        for _, child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(15)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def redis_answers(path):
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(str(path))
            peer.sendall(b"PING\r\n")
            return peer.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def get(authority, path):
    try:
        with urllib.request.urlopen(f"http://{authority}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def post(authority, exchange, body):
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(f"http://{authority}/openrtb2/{exchange}", data,
                                     {"Content-Type": "application/json"})
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            status, text = answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    return status, text, (time.monotonic() - began) * 1000


def reasons(admin):
    """What the bidder has counted: {reason: requests without a bid, or bodies refused}"""
    found = re.findall(r'^jointcap_(?:no_bids|bid_request_rejects)_total\{reason="(\w+)"\} (\d+)',
                       get(admin, "/metrics")[1], re.M)
    return {reason: int(count) for reason, count in found}


def show_bid(bid, currency):
    markup = bid.get("adm", "")
    kind = "VAST" if "<VAST" in markup else "native" if markup.startswith("{") else "HTML"
    deal = f" on deal {bid['dealid']}" if "dealid" in bid else ""
    print(f"  {BOLD}bid {bid['price']} {currency} CPM{deal}{PLAIN}: campaign {bid.get('cid', '-')}, "
          f"creative {bid.get('crid', '-')} of {', '.join(bid.get('adomain', []))}")
    print(f"  {DIM}{kind}, {len(markup)} bytes: {markup[:100]}...{PLAIN}")


def first_impression(text):
    """The url that bills the first bid of an answer."""
    bid = json.loads(text)["seatbid"][0]["bid"][0]
    found = re.search(r"<Impression[^>]*><!\[CDATA\[(.*?)\]\]>", bid.get("adm", ""))
    url = found.group(1) if found else bid.get("burl")
    return url and url.replace("${AUCTION_PRICE}", str(bid["price"]))


def show(stack, text, exchange, body):
    before = reasons(stack.admin)
    status, answer, took_ms = post(stack.listen, exchange, body)
    name = body["id"] if isinstance(body, dict) else "(no request)"
    print(f"\n{BOLD}{text}{PLAIN}\n  POST /openrtb2/{exchange}  {name}  ->  {status}, "
          f"{took_ms:.1f} ms with this client")
    bids = []
    if status == 200 and answer.strip().startswith("{"):
        response = json.loads(answer)
        bids = [bid for seat in response.get("seatbid", []) for bid in seat["bid"]]
        for bid in bids:
            show_bid(bid, response.get("cur", "USD"))
    if not bids:
        after = reasons(stack.admin)
        why = [reason for reason, count in after.items() if count > before.get(reason, 0)]
        print(f"  {BOLD}no bid{PLAIN}, because: {', '.join(why) or 'not counted yet'}")
    return answer if bids else None


def explain(stack, request, exchange):
    """jointcapctl's own words on a request, when it can be asked."""
    if not CTL.exists():
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir=stack.folder) as file:
        json.dump(request, file)
        file.flush()
        done = subprocess.run([CTL, "explain", "--exchange", exchange, "--admin", stack.admin,
                               "--token-file", stack.folder / "token", file.name],
                              capture_output=True, text=True, timeout=20)
    if done.returncode == 0:
        print(f"\n{BOLD}jointcapctl explain, line by line{PLAIN}")
        print("\n".join("  " + line for line in done.stdout.splitlines()[:40]))


def wait_for_budgets(stack):
    """The first requests find no part of the budgets leased to their worker yet; they ask for it.
    Another person's requests, so that nobody's counts are touched: test=1 neither counts nor pays."""
    probe = changed(BANNER, test=1, device={**DEVICE, "ifa": "00000000-7a10-4c1d-9d6e-00000000beef"})
    video = changed(PDB_VIDEO, test=1, device=probe["device"])
    until = time.monotonic() + 5
    for exchange, request in (("openrtb", probe), ("iqiyi", video)):
        while post(stack.listen, exchange, request)[0] != 200 and time.monotonic() < until:
            time.sleep(0.02)


def tour(stack):
    wait_for_budgets(stack)
    answers = [show(stack, *sample) for sample in samples()]
    bought = [answer for answer in answers if answer]
    url = bought and first_impression(bought[0])
    if url:
        path = re.sub(r"^https?://[^/]+", "", url)
        print(f"\n{BOLD}The first ad is shown: its impression is notified, twice by mistake{PLAIN}")
        for _ in range(2):
            print(f"  GET {path[:60]}...  ->  {get(stack.listen, path)[0]}")
        time.sleep(0.2)
        counted = re.findall(r'^jointcap_notice_outcomes_total\{outcome="(\w+)"\} ([1-9]\d*)',
                             get(stack.admin, "/metrics")[1], re.M)
        print("  counted: " + ", ".join(f"{outcome} {count}" for outcome, count in counted))
    blocked = changed(BANNER, id="demo-blocked", badv=["mondelez.example", "northcar.example"])
    explain(stack, blocked, "openrtb")
    return len(bought)


def is_free(authority):
    host, port = authority.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
            return True
        except OSError:
            return False


def any_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--any-port", action="store_true", help="free ports instead of 8080, 8081")
    args = parser.parse_args()
    listen, admin = "127.0.0.1:8080", "127.0.0.1:8081"
    if args.any_port:
        listen, admin = any_port(), any_port()
    for authority in (listen, admin):
        if not is_free(authority):
            sys.exit(f"{authority} is in use; stop what listens there, or run "
                     f"python3 deploy/demo.py --any-port")
    if args.stay:
        folder = ROOT / "run"
        folder.mkdir(exist_ok=True)
    else:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="jointcap-demo-"))
    stack = Stack(folder, listen, admin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also when started in the background
    try:
        stack.up()
        print(f"Jointcap answers on http://{listen}/openrtb2/<exchange>, its admin port is "
              f"http://{admin}/\nRedis, logs and event logs: {folder}")
        bids = tour(stack)
        if args.stay:
            print(f"\n{BOLD}It stays up; Ctrl-C stops it.{PLAIN} Try:\n"
                  f"  curl -s http://{admin}/metrics | grep no_bids\n"
                  f"  . run/env; {os.path.relpath(CTL)} report\n"
                  f"  {os.path.relpath(BUILD / 'jointcap-load')} --body run/banner.json --rate 2000 "
                  f"--win-rate 0.3 http://{listen}/openrtb2/openrtb")
            signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        stack.down()
        if not args.stay:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if bids >= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
