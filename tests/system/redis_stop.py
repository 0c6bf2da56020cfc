#!/usr/bin/env python3
"""Redis stands still for five seconds (SIGSTOP) under load. Every request must be answered, within
its tmax; lines that may not bid without counts do not, those that may (`on_store_error: allow`) and
guaranteed deals do, and each decision without counts is counted. Before, during and afterwards
nobody is shown more than the cap by lines that had to hold it at the time. (A machine that stalls
for longer than redis_timeout is a store away, too: those decisions are in the counts.)

Requests go out at their planned times whether others were answered or not (open loop). Late is
counted from when the request was handed to a connection; how late the sender itself was, which
shares the machine, is printed beside it."""
import argparse
import asyncio
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import drive  # finds the two below
import catalogs
import harness

STRICT, ALLOW, PDB = "strict", "allow", "pdb"


def make_catalog(cap):
    """One cap over three lines: an RTB banner that holds it, a native that may go on without
    counts, a PDB deal."""
    value = catalogs.catalog(timezone=drive.noon_timezone())
    value["exchanges"] = [{"id": "x", "no_bid": "204", "seat": "s", "tmax_ms": 1000,
                           "margin_ms": 5, "ids": ["device.ifa"]}]
    value["frequency_caps"] = [{"id": "joint", "max": cap, "window": {"rolling": "7d"}}]
    value["deals"] = value["deals"][:1]
    value["deals"][0].update(push_ratio=1.5, impressions_per_day=100000)
    value["campaigns"] = [
        {"id": "red-c", "brand": "red", "start": "2026-01-01", "end": "2035-12-31",
         "frequency_caps": ["joint"],
         "line_items": [
             {"id": "red-pdb", "buying": "pdb", "deals": ["PDB-1"], "creatives": ["red-video"]},
             {"id": "red-rtb", "buying": "rtb", "bid_cpm": 10, "creatives": ["red-banner"]},
             {"id": "red-go-on", "buying": "rtb", "bid_cpm": 9, "creatives": ["green-native"],
              "on_store_error": "allow"}]}]
    value["advertisers"][0]["brands"] = [{"id": "red"}]
    value.pop("audiences")
    return value


class Run:
    def __init__(self, args, jointcap, redis):
        self.args, self.jointcap, self.redis = args, jointcap, redis
        self.random = random.Random(args.seed)
        self.pool = drive.Pool(jointcap.host, jointcap.port, args.connections)
        self.strict = {}  # person: bids of the line that never bids without counts
        self.held = {}    # person: these, and those of the other line while Redis ran
        self.sent = self.answered = self.unanswered = self.late = 0
        self.waits_us, self.own_late_us = [], 0
        self.phases = {}
        self.stopped = False
        self.tasks = set()
        self.later = []

    def request(self, person, kind):
        imp = {STRICT: catalogs.banner(), ALLOW: catalogs.native(),
               PDB: catalogs.video(deals=[catalogs.pdb_deal()])}[kind]
        return json.dumps({"id": f"r{self.sent}", "imp": [imp], "cur": ["CNY"], "at": 1,
                           "tmax": self.args.tmax, "app": {"bundle": "b"},
                           "device": {"ifa": f"p{person}"}}).encode()

    async def ask(self, planned, person, kind, phase):
        body = self.request(person, kind)
        self.own_late_us = max(self.own_late_us, (time.monotonic() - planned) * 1e6)
        began = time.monotonic()
        answer = await self.pool.post("/openrtb2/x", body)
        took_us = (time.monotonic() - began) * 1e6
        if answer is None:
            self.unanswered += 1
            return None
        self.answered += 1
        self.waits_us.append(took_us)
        self.late += took_us > self.args.tmax * 1000
        count = self.phases.setdefault((phase, kind), [0, 0, 0.0])
        count[0] += 1
        count[1] += answer[0] == 200
        count[2] = max(count[2], took_us)
        if answer[0] == 200:
            if kind == STRICT:
                self.strict[person] = self.strict.get(person, 0) + 1
            if kind == STRICT or (kind == ALLOW and phase in ("before", "after")):
                self.held[person] = self.held.get(person, 0) + 1
            bid = json.loads(answer[1])["seatbid"][0]["bid"][0]
            if bid.get("burl"):
                url = bid["burl"].replace("${AUCTION_PRICE}", "5")
                self.later.append(asyncio.create_task(self.tell("/" + url.split("/", 3)[3])))
        return answer[0]

    async def tell(self, path):
        while True:
            answer = await self.pool.get(path)
            if answer and answer[0] < 500:
                return
            await asyncio.sleep(0.1)

    async def load(self, seconds, phase):
        started = time.monotonic()
        for number in range(int(seconds * self.args.rate)):
            planned = started + number / self.args.rate
            while (ahead := planned - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            self.sent += 1
            kind = self.random.choice((STRICT, STRICT, ALLOW, PDB))
            task = asyncio.create_task(self.ask(planned, self.random.randrange(self.args.persons),
                                                kind, phase))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            if number % 8 == 0:
                await asyncio.sleep(0)

    async def settle(self):
        while self.tasks or self.later:
            await asyncio.gather(*self.tasks, *self.later)
            self.later = [task for task in self.later if not task.done()]

    async def run(self):
        args = self.args
        await self.load(args.seconds, "before")
        await self.settle()
        before = self.jointcap.metrics()
        self.redis.process.send_signal(signal.SIGSTOP)
        try:
            await self.load(args.stop, "stopped")
        finally:
            self.redis.process.send_signal(signal.SIGCONT)
        await self.settle()
        stopped = self.jointcap.deltas(before)
        await self.load(0.5, "back")  # the first answers may still be late
        await self.settle()
        await self.load(args.seconds, "after")
        await self.settle()
        return stopped


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=4, help="before and after the stop")
    parser.add_argument("--stop", type=float, default=5)
    parser.add_argument("--persons", type=int, default=3000)
    parser.add_argument("--cap", type=int, default=3)
    parser.add_argument("--tmax", type=int, default=200, help="ms")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"{args.rate} requests/s, {args.persons} persons, cap {args.cap}, tmax {args.tmax} ms, "
          f"{args.workers} workers; Redis stopped for {args.stop:.0f} s; seed {args.seed}",
          flush=True)
    folder = tempfile.mkdtemp(prefix="jointcap-stop-")
    redis = jointcap = None
    try:
        redis = harness.Redis(folder)
        path = pathlib.Path(folder) / "catalog.json"
        path.write_text(json.dumps(make_catalog(args.cap)), encoding="utf-8")
        jointcap = harness.Jointcap(folder, redis, catalog=path, workers=args.workers,
                                    reserve_seconds=600, redis_timeout="50ms", shed_lag="100ms")
        before = jointcap.metrics()

        async def go():
            run = Run(args, jointcap, redis)
            return run, await run.run()
        run, stopped = asyncio.run(go())
        grown = jointcap.deltas(before)
    finally:
        for process in (jointcap, redis):
            if process:
                process.stop()
        shutil.rmtree(folder, ignore_errors=True)
    run.waits_us.sort()
    over = [person for person, count in run.strict.items() if count > args.cap]
    beyond = sum(max(0, count - args.cap) for count in run.held.values())
    elsewhere = (grown.get("jointcap_uncapped_total", 0) -
                 stopped.get("jointcap_uncapped_total", 0))
    print(f"requests {run.sent}  answered {run.answered}  unanswered {run.unanswered}  later than "
          f"tmax {run.late}  longest {run.waits_us[-1] / 1000:.1f} ms  p99.9 "
          f"{run.waits_us[len(run.waits_us) * 999 // 1000] / 1000:.1f} ms  p50 "
          f"{run.waits_us[len(run.waits_us) // 2] / 1000:.1f} ms (the sender was late itself by "
          f"{run.own_late_us / 1000:.0f} ms at most)")
    for phase in ("before", "stopped", "back", "after"):
        print(f"  {phase:8}" + "  ".join(
            f"{kind}: {asked} asked, {bids} bids, longest {longest / 1000:.1f} ms"
            for (of, kind), (asked, bids, longest) in sorted(run.phases.items()) if of == phase))
    print(f"while stopped: no-bids {drive.labelled(stopped, 'jointcap_no_bids_total')}  decisions "
          f"without counts {stopped.get('jointcap_uncapped_total', 0):.0f}  forced "
          f"{stopped.get('jointcap_forced_total', 0):.0f}  returned "
          f"{stopped.get('jointcap_returns_total', 0):.0f}")
    print(f"whole run: no-bids {drive.labelled(grown, 'jointcap_no_bids_total')}  decisions without "
          f"counts {grown.get('jointcap_uncapped_total', 0):.0f}")
    print("store: " + drive.labelled(grown, "jointcap_frequency_events_total"))
    print(f"over-exposures by the line that must hold the cap: {len(over)} of {len(run.strict)} "
          f"persons; by both lines while Redis ran: {beyond}, where {elsewhere:.0f} decisions were "
          f"counted as made without counts")
    wrong = (over or beyond > elsewhere or run.unanswered or run.late or
             run.answered != run.sent)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
