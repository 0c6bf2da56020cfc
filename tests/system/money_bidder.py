#!/usr/bin/env python3
"""Is money ever overspent? Four real workers share 50 budgets (campaigns' and lines', total and
daily, in money and in impressions) that run dry under bursts, with a real Redis that keeps its
data as in production. Notices come late, twice, out of order or never; one worker and later Redis
are killed -9 and come back.

The truth is kept here: every impression that was told by a billing notice the bidder answered,
times its clearing price. A sampler reads settled (S) and out (O) of every account all the time.

  prompt  win_timeout is longer than the run: an impression may be told late or never (the exchange
          shows it all the same). True spend, told or not, stays within the budget; S + O <= cap
          in every sample; after the drain S is the told truth and what the event logs say, to
          the last micro.                                                  overspend must be 0
  late    win_timeout is short; 5% of billing notices come after it, when the money may have been
          promised to another bid. They are booked all the same.           overspend <= 0.1%"""
import argparse
import asyncio
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import drive  # finds harness
import harness

CAMPAIGNS, LINES = 10, 4
MICRO = 1000000


@dataclasses.dataclass
class Scenario:
    name: str
    seconds: float        # of bidding
    rate: int             # requests per second, in bursts
    win_timeout: str
    win_rate: float = 0.8
    never: float = 0.0    # impressions that are never told
    loss_never: float = 0.1
    late: float = 0.0     # billing notices told behind win_timeout
    late_s: tuple = (0, 0)
    prompt_s: float = 1.0
    doubled: float = 0.2
    overspend_max: float = 0.0
    impressions: int = 0  # of a line's budget, about


# --- catalog ------------------------------------------------------------------------------------

def budgets_of(scenario, rng):
    """{name: {"total", "daily", "unit"}}: what the catalog says, in its units."""
    budgets = {}
    for c in range(CAMPAIGNS):
        count = int(scenario.impressions * rng.uniform(0.8, 1.2))
        for i in range(LINES):
            cpm = cpm_of(c, i)
            money = round(count * cpm / 1000, 3)
            kind = (c + i) % 5
            budgets[f"line:c{c}-l{i}"] = (
                {"daily": money} if kind == 0 else {"total": money} if kind == 1 else
                {"daily": count, "unit": "impressions"} if kind == 2 else
                {"total": count, "unit": "impressions"} if kind == 3 else
                {"total": round(money * 1.5, 3), "daily": money})
        whole = round(count * 3.2 * cpm_of(c, 2) / 1000, 3)  # some lines end with their campaign
        budgets[f"campaign:c{c}"] = ({"total": whole} if c % 3 == 0 else {"daily": whole}
                                     if c % 3 == 1 else
                                     {"total": round(whole * 1.3, 3), "daily": whole})
    return budgets


def cpm_of(campaign, line):
    return round(6 + campaign * 0.7 + line * 1.313, 3)


def make_catalog(budgets):
    creatives, campaigns = [], []
    for c in range(CAMPAIGNS):
        lines = []
        for i in range(LINES):
            video = i == LINES - 1
            creatives.append(
                {"id": f"cr-{c}-{i}", "type": "video", "duration": 15, "w": 640, "h": 480,
                 "mime": "video/mp4", "url": "https://cdn.example/v.mp4",
                 "landing": "https://acme.example/"} if video else
                {"id": f"cr-{c}-{i}", "type": "banner", "w": 300, "h": 250,
                 "image": "https://cdn.example/b.png", "landing": "https://acme.example/"})
            lines.append({"id": f"c{c}-l{i}", "buying": "rtb", "bid_cpm": cpm_of(c, i),
                          "creatives": [f"cr-{c}-{i}"],
                          "targeting": {"exchanges": [f"x{c}"]},
                          "budget": {**budgets[f"line:c{c}-l{i}"], "pacing": "asap"}})
        campaigns.append({"id": f"c{c}", "brand": "red", "start": "2026-01-01", "end": "2035-12-31",
                          "budget": {**budgets[f"campaign:c{c}"], "pacing": "asap"},
                          "line_items": lines})
    return {"timezone": drive.noon_timezone(), "currency": "CNY",
            "exchanges": [{"id": f"x{c}", "no_bid": "204", "seat": "s", "tmax_ms": 10000,
                           "ids": ["device.ifa"]} for c in range(CAMPAIGNS)],
            "advertisers": [{"id": "acme", "domain": "acme.example", "categories": ["IAB8"],
                             "brands": [{"id": "red"}]}],
            "campaigns": campaigns, "creatives": creatives}


class Accounts:
    """Each limit of each budget: its cap, and what was truly spent of it."""

    def __init__(self, budgets):
        self.cap, self.told, self.untold, self.unit = {}, {}, {}, {}
        for name, budget in budgets.items():
            for kind in ("total", "daily"):
                if kind in budget:
                    account = (name, kind)
                    self.unit[account] = budget.get("unit") == "impressions"
                    self.cap[account] = (budget[kind] if self.unit[account]
                                         else round(budget[kind] * MICRO))
                    self.told[account] = self.untold[account] = 0
        self.by_ref = {}
        for name, budget in budgets.items():
            unit = "impressions:" if budget.get("unit") == "impressions" else ""
            self.by_ref[f"b:{{{harness.ref_of(unit + name):08x}}}"] = name

    def book(self, names, cost, told):
        for account in self.cap:
            if account[0] in names:
                amount = 1 if self.unit[account] else cost
                (self.told if told else self.untold)[account] += amount

    def of_key(self, key):
        """(name, kind) of a key in Redis."""
        name, _, day = key.rpartition(":")
        return self.by_ref[name], "total" if day == "t" else "daily"


# --- sampler ------------------------------------------------------------------------------------

class Sampler(threading.Thread):
    """Reads S and O of all accounts as often as Redis gives them; notes the worst excess."""

    def __init__(self, address, accounts):
        super().__init__(daemon=True)
        self.address, self.accounts = address, accounts
        self.ended = threading.Event()
        self.samples = self.reads = self.over = 0
        self.worst = (0.0, "")
        self.peak = {}  # account: the largest share of its cap that was settled or out
        self.out = {}   # account: the share of its cap that is out now
        self.failure = None

    def run(self):
        while not self.ended.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(5)
                    sock.connect(self.address)
                    with sock.makefile("rb") as reader:
                        self.sample_until_lost(sock, reader)
            except (OSError, ValueError, IndexError):
                time.sleep(0.02)  # Redis is away
            except Exception as problem:  # pylint: disable=broad-except
                self.failure = problem
                return

    def sample_until_lost(self, sock, reader):
        keys, read_keys = [], 0
        while not self.ended.wait(0.01):
            if time.monotonic() > read_keys:
                read_keys = time.monotonic() + 1
                sock.sendall(b"KEYS b:{*}:*\r\n")
                keys = [key for key in self.reply(reader)]
            sock.sendall(b"".join(f"HMGET {key} S O\r\n".encode() for key in keys))
            for key in keys:
                settled, out = (int(value or 0) for value in self.reply(reader))
                self.check(key, settled, out)
            self.samples += bool(keys)

    @staticmethod
    def reply(reader):
        line = reader.readline()
        if line[:1] != b"*":
            raise OSError("no array: Redis is loading or gone")
        values = []
        for _ in range(int(line[1:])):
            length = int(reader.readline()[1:])
            values.append(reader.read(length + 2)[:-2].decode() if length >= 0 else None)
        return values

    def check(self, key, settled, out):
        account = self.accounts.of_key(key)
        cap = self.accounts.cap.get(account)
        self.reads += 1
        if cap is None:
            return
        self.peak[account] = max(self.peak.get(account, 0), (settled + out) / cap)
        self.out[account] = out / cap
        if settled + out <= cap:
            return
        self.over += 1
        self.worst = max(self.worst, ((settled + out - cap) / cap,
                                      f"{account}: {settled} + {out} > {cap}"))


# --- the exchange -------------------------------------------------------------------------------

class Run:
    def __init__(self, scenario, jointcap, redis, accounts, rng, args):
        self.scenario, self.jointcap, self.redis = scenario, jointcap, redis
        self.accounts, self.random, self.args = accounts, rng, args
        self.pool = drive.Pool(jointcap.host, jointcap.port, args.connections)
        self.count = dict.fromkeys(
            ("requests", "bids", "no_bids", "broken", "impressions", "never_told", "losses",
             "losses_never_told", "told_late", "doubled", "repeated", "refused"), 0)
        self.tasks = set()
        self.truth_lines = {}

    def later(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def tell(self, url, delay):
        """Until it is answered, as exchanges do. True: it was taken."""
        await asyncio.sleep(delay)
        path = "/" + url.split("/", 3)[3]
        while True:
            answer = await self.pool.get(path)
            if answer and answer[0] < 300:
                return True
            if answer and answer[0] < 500:
                self.count["refused"] += 1
                return False
            self.count["repeated"] += 1
            await asyncio.sleep(0.1)

    async def bill(self, url, delay, names, cost):
        self.accounts.book(names, cost, await self.tell(url, delay))

    def on_bid(self, bid):
        scenario, rng = self.scenario, self.random
        self.count["bids"] += 1
        campaign, line = re.fullmatch(r"cr-(\d+)-(\d+)", bid["crid"]).groups()
        names = (f"campaign:c{campaign}", f"line:c{campaign}-l{line}")
        delay = rng.random() * scenario.prompt_s
        if rng.random() >= scenario.win_rate:
            self.count["losses"] += 1
            if rng.random() < scenario.loss_never:
                self.count["losses_never_told"] += 1
            else:
                self.later(self.tell(bid["lurl"].replace("${AUCTION_LOSS}", "102"), delay))
            return
        self.count["impressions"] += 1
        price = round(bid["price"] * MICRO)
        cost = -(-price // 1000)
        if bid.get("burl"):  # a banner: the exchange says what it cleared at
            clearing = int(price * rng.uniform(0.3, 1))
            cost = -(-cost * clearing // price)
            url = bid["burl"].replace("${AUCTION_PRICE}", f"{clearing / MICRO:.6f}")
            self.later(self.tell(bid["nurl"].replace("${AUCTION_PRICE}", "1"),
                                 rng.random() * scenario.prompt_s * 2))  # before or after the burl
        else:
            url = re.search(r"http[^\s\"<>\]]*/notice/impression/[A-Za-z0-9_-]+", bid["adm"])[0]
        if rng.random() < scenario.never:
            self.count["never_told"] += 1
            self.accounts.book(names, cost, False)
            return
        if rng.random() < scenario.late:
            self.count["told_late"] += 1
            delay = rng.uniform(*scenario.late_s)
        self.later(self.bill(url, delay, names, cost))
        if rng.random() < scenario.doubled:
            self.count["doubled"] += 1
            self.later(self.tell(url, delay + rng.random() * 0.5))

    def request(self, campaign):
        self.count["requests"] += 1
        number = self.count["requests"]
        imp = {"id": "1", "bidfloor": 1, "bidfloorcur": "CNY"}
        if number % LINES:
            imp["banner"] = {"w": 300, "h": 250}
        else:
            imp["video"] = {"mimes": ["video/mp4"], "minduration": 5, "maxduration": 30,
                            "protocols": [2, 3, 7], "w": 640, "h": 480}
        return json.dumps({"id": f"r{number}", "imp": [imp], "cur": ["CNY"], "at": 1,
                           "app": {"bundle": "b"},
                           "device": {"ifa": f"p{self.random.randrange(10**9)}"}}).encode()

    async def ask(self, campaign):
        answer = await self.pool.post(f"/openrtb2/x{campaign}", self.request(campaign))
        if answer is None:
            self.count["broken"] += 1
        elif answer[0] == 200:
            self.on_bid(json.loads(answer[1])["seatbid"][0]["bid"][0])
        elif answer[0] == 204:
            self.count["no_bids"] += 1
        else:
            raise SystemExit(f"status {answer[0]}: {answer[1][:200]}")

    async def visits(self, seconds, rate):
        """Bursts of up to 40 requests for one campaign at the same moment."""
        asked, started = set(), time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - started) < seconds:
            while sent < elapsed * rate and len(asked) < self.args.connections * 4:
                campaign = self.random.randrange(CAMPAIGNS)
                for _ in range(self.random.choice((1, 2, 3, 5, 10, 40))):
                    sent += 1
                    task = asyncio.create_task(self.ask(campaign))
                    asked.add(task)
                    task.add_done_callback(asked.discard)
            await asyncio.sleep(0.005)
        for task in list(asked):
            await task

    async def kills(self):
        await asyncio.sleep(self.scenario.seconds * 0.3)
        os.kill(self.jointcap.worker_pids()[1], signal.SIGKILL)
        await asyncio.sleep(self.scenario.seconds * 0.25)
        self.redis.kill()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self.redis.start)

    async def run(self):
        kills = asyncio.create_task(self.kills())
        await self.visits(self.scenario.seconds, self.scenario.rate)
        await kills
        while self.tasks:
            await asyncio.gather(*list(self.tasks))


# --- the whole ----------------------------------------------------------------------------------

def reconcile(redis, events):
    done = subprocess.run([str(harness.JOINTCAPCTL), "reconcile", "--redis", redis.address,
                           "--all", "--json", str(events)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, rows, done.stderr.strip()


def play(scenario, args, folder):
    """Runs a scenario; returns what it came to."""
    rng = random.Random(f"{args.seed} {scenario.name}")
    budgets = budgets_of(scenario, rng)
    accounts = Accounts(budgets)
    path = pathlib.Path(folder) / "catalog.json"
    path.write_text(json.dumps(make_catalog(budgets)), encoding="utf-8")
    events = pathlib.Path(folder) / "events"
    redis = jointcap = sampler = None
    try:
        redis = drive.DurableRedis(folder)
        sampler = Sampler(redis.socket, accounts)
        sampler.start()
        jointcap = harness.Jointcap(folder, redis, catalog=path, workers=args.workers,
                                    redis_timeout="1s", shed_lag="5s", event_log=events,
                                    win_timeout=scenario.win_timeout)
        before = jointcap.metrics()

        async def go():
            run = Run(scenario, jointcap, redis, accounts, rng, args)
            await run.run()
            return run
        run = asyncio.run(go())
        # Everything that was answered gets booked, and told to Redis within its second.
        harness.wait_until(lambda: jointcap.metrics()["jointcap_notices_pending"] == 0, "notices")
        time.sleep(2.5)
        grown = jointcap.deltas(before)
        still_out = dict(sampler.out)
        jointcap.stop()
        code, rows, said = reconcile(redis, events)
        settled = {accounts.of_key(key): int(redis.command("HGET", key, "S") or 0)
                   for key in redis.command("KEYS", "b:{*}:*")}
        sampler.ended.set()
        sampler.join()
        sampler.out = still_out
        if sampler.failure:
            raise sampler.failure
        log = jointcap.text()
    finally:
        if sampler:
            sampler.ended.set()
        for process in (jointcap, redis):
            if process:
                process.stop()
    return run, grown, settled, (code, rows, said), sampler, log


def share(amounts, caps):
    """Money and impressions do not add up: the mean of the shares of their caps."""
    return sum(amounts[a] / caps[a] for a in caps) / len(caps)


def judge(scenario, run, grown, settled, reconciled, sampler):
    """Prints the figures; returns what is wrong."""
    accounts, count = run.accounts, run.count
    caps = accounts.cap
    wrong = []
    true = {a: accounts.told[a] + accounts.untold[a] for a in caps}
    over = {a: max(0, true[a] - caps[a]) for a in caps}
    dry = [a for a in caps if sampler.peak.get(a, 0) > 0.99]  # settled or promised
    spent = sorted(true[a] / caps[a] for a in dry) or [0]
    different = [(a, settled.get(a, 0), accounts.told[a]) for a in caps
                 if settled.get(a, 0) != accounts.told[a]]
    code, rows, said = reconciled
    print("  " + "  ".join(f"{name} {number}" for name, number in count.items()))
    print("  notices   " + drive.labelled(grown, "jointcap_notice_outcomes_total"))
    print("  no-bids   " + drive.labelled(grown, "jointcap_no_bids_total"))
    print("  budgets   " + drive.labelled(grown, "jointcap_budget_events_total"))
    print(f"  accounts {len(caps)} of {CAMPAIGNS * (LINES + 1)} budgets; dry (settled + out reached "
          f"99% of the cap) {len(dry)}; of these spent in the end: mean {sum(spent) / len(spent):.2%}"
          f", least {spent[0]:.2%}; 99% and more: {sum(part >= 0.99 for part in spent)}; still held "
          f"for what may yet be told: mean {sum(sampler.out[a] for a in dry) / max(1, len(dry)):.2%}")
    print(f"  samples {sampler.samples} ({sampler.reads} readings of an account)  "
          f"settled + out > cap in {sampler.over}"
          + (f", worst {sampler.worst[0]:.4%} {sampler.worst[1]}" if sampler.over else ""))
    print(f"  overspend: {sum(1 for a in caps if over[a])} accounts, "
          f"{share(over, caps):.4%} of the budgets, {max(over[a] / caps[a] for a in caps):.4%} "
          f"at most")
    print(f"  reconcile: {len(rows)} accounts, {sum(row['difference'] != 0 for row in rows)} "
          f"differ ({said}); settled differs from the truth told: {len(different)}")
    for account, have, told in different[:5]:
        print(f"    {account}: settled {have}, told {told}, difference {have - told}")
    if share(over, caps) > scenario.overspend_max:
        wrong.append("overspend")
    if sampler.over and not scenario.overspend_max:
        wrong.append("settled + out > cap")
    if sampler.samples < 100:
        wrong.append("hardly any samples")
    if code != 0 or any(row["difference"] for row in rows) or not rows:
        wrong.append("reconcile differs")
    if different:
        wrong.append("settled is not what was told")
    if len(dry) < CAMPAIGNS:
        wrong.append("few budgets ran dry: the check says little")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=0, help="of bidding, per scenario")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--only", choices=("prompt", "late"))
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and events")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    scenarios = [
        Scenario("prompt", args.seconds or 40, args.rate, "10m", never=0.01, prompt_s=3.0),
        Scenario("late", args.seconds or 75, args.rate, "1s", late=0.05, late_s=(1.2, 2.2),
                 prompt_s=0.6, loss_never=0.3, overspend_max=0.001)]
    failed = False
    for scenario in scenarios:
        if args.only and scenario.name != args.only:
            continue
        scenario.impressions = int(scenario.seconds * scenario.rate * 0.25 / CAMPAIGNS / LINES)
        print(f"{scenario.name}: {args.workers} workers, {CAMPAIGNS * (LINES + 1)} budgets, "
              f"{scenario.rate} requests/s in bursts for {scenario.seconds:.0f} s, win_timeout "
              f"{scenario.win_timeout}, {scenario.late:.0%} of billing notices after it, "
              f"{scenario.doubled:.0%} doubled, {scenario.never:.0%} never; "
              f"{scenario.loss_never:.0%} of losses never told; a worker and Redis killed -9; "
              f"seed {args.seed}", flush=True)
        folder = tempfile.mkdtemp(prefix="jointcap-money-")
        try:
            *result, log = play(scenario, args, folder)
            wrong = judge(scenario, *result)
            if re.search(r"^BUG ", log, re.M):
                wrong.append("a BUG line in the log")
        finally:
            if args.keep:
                print(f"  kept in {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        print(f"  {'FAILED: ' + ', '.join(wrong) if wrong else 'good'}", flush=True)
        failed = failed or bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
