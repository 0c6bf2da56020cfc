#!/usr/bin/env python3
"""How much of a PDB deal is returned when nobody wants any of it? The real bidder with 1 and with 4
workers, a real Redis, persons who are all at their cap, push ratios 1.2, 1.5 and 2; at last one
worker killed -9 half-way.

  rate    returned / pushed: within +0 / -1 percentage point of 1 - 1/rho
  always  after every single answer, returned <= pushed * (1 - 1/rho) + slack
  filled  impressions bought: the guaranteed number, within 1%; beyond what is returned each push
          is filled, counted as forced when the person is at the cap

A whole day is pressed into each run: the deal's impressions_per_day is what the run pushes / rho.
The slack (max(20, 0.5% of the day's pushes) at midnight, 0 half an hour before the day's end) goes
by the wall clock, so the runs are put into a timezone where the day is nearly over: returned
stays within the allowance to a fraction of the slack, which is printed."""
import argparse
import asyncio
import json
import os
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

SLACK_END_S, DAY_S = 1800, 86400


def evening_timezone():
    """The timezone of whole hours where less than 70 minutes are left of the day, but 10 at least."""
    now = time.gmtime()
    hour = 23 if now.tm_min < 50 else 22
    ahead = hour - now.tm_hour if hour - now.tm_hour <= 12 else hour - now.tm_hour - 24
    elapsed_s = hour * 3600 + now.tm_min * 60 + now.tm_sec
    return (f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"), elapsed_s


def slack_of(pushes, elapsed_s):
    full = max(20, pushes // 200)
    left_s = DAY_S - SLACK_END_S - elapsed_s
    return full * max(left_s, 0) // (DAY_S - SLACK_END_S)


def make_catalog(args, rho, timezone):
    value = catalogs.catalog(timezone=timezone)
    deal = value["deals"][0]
    deal.update(push_ratio=rho, impressions_per_day=int(args.pushes / rho))
    value["exchanges"] = [{"id": "x", "no_bid": "204", "seat": "s", "tmax_ms": 10000,
                           "ids": ["device.ifa"]}]
    value["frequency_caps"] = [{"id": "one", "max": 1, "window": {"rolling": "7d"}}]
    value["deals"] = [deal]
    value["campaigns"] = [{"id": "red-c", "brand": "red", "start": "2026-01-01",
                           "end": "2035-12-31", "frequency_caps": ["one"],
                           "line_items": [{"id": "red-pdb", "buying": "pdb", "deals": ["PDB-1"],
                                           "creatives": ["red-video"]}]}]
    value["creatives"] = value["creatives"][:1]
    return value


class Run:
    def __init__(self, args, rho, elapsed_s, jointcap, kill):
        self.args, self.rho, self.jointcap = args, rho, jointcap
        self.kill = kill
        self.random = random.Random(args.seed)
        self.pool = drive.Pool(jointcap.host, jointcap.port, args.connections)
        self.pushed = self.answered = self.returned = self.filled = self.broken = 0
        self.slack = slack_of(args.pushes, elapsed_s)
        self.beyond = 0.0  # the most that was returned beyond the allowance without slack
        self.imp = catalogs.video(deals=[catalogs.pdb_deal()])

    async def push(self, limit):
        self.pushed += 1
        body = json.dumps({"id": f"r{self.pushed}", "imp": [self.imp], "cur": ["CNY"], "at": 1,
                           "app": {"bundle": "b"},
                           "device": {"ifa": f"p{self.random.randrange(self.args.persons)}"}})
        answer = await self.pool.post("/openrtb2/x", body.encode())
        limit.release()
        if answer is None:
            self.broken += 1
        elif answer[0] == 200:
            self.filled += 1
        elif answer[0] == 204:
            self.returned += 1
            allowed = self.pushed * (1 - 1 / self.rho)
            self.beyond = max(self.beyond, self.returned - allowed)
        else:
            raise SystemExit(f"status {answer[0]}: {answer[1][:200]}")

    async def run(self):
        limit = asyncio.Semaphore(self.args.connections)
        tasks, started = set(), time.monotonic()
        for number in range(self.args.pushes):
            if self.kill and number == self.args.pushes // 2:
                os.kill(self.jointcap.worker_pids()[1], signal.SIGKILL)
            ahead_s = number / self.args.rate - (time.monotonic() - started)
            if ahead_s > 0.002:
                await asyncio.sleep(ahead_s)
            await limit.acquire()
            task = asyncio.create_task(self.push(limit))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in list(tasks):
            await task


def play(args, workers, rho, kill):
    """Prints the figures; returns what is wrong."""
    folder = tempfile.mkdtemp(prefix="jointcap-returns-")
    timezone, elapsed_s = evening_timezone()
    redis = jointcap = None
    try:
        redis = harness.Redis(folder)
        path = pathlib.Path(folder) / "catalog.json"
        path.write_text(json.dumps(make_catalog(args, rho, timezone)), encoding="utf-8")
        jointcap = harness.Jointcap(folder, redis, catalog=path, workers=workers,
                                    redis_timeout="1s", shed_lag="5s", reserve_seconds=3600)
        before = jointcap.metrics()

        async def go():
            run = Run(args, rho, elapsed_s, jointcap, kill)
            await run.run()
            return run
        run = asyncio.run(go())
        time.sleep(1.5)  # the last reports
        grown = jointcap.deltas(before)
        key, = redis.command("KEYS", "r:{*}:*")
        settled, out, counted = (int(value or 0) for value in
                                 redis.command("HMGET", key, "S", "O", "X"))
    finally:
        for process in (jointcap, redis):
            if process:
                process.stop()
        shutil.rmtree(folder, ignore_errors=True)
    rate, aim = run.returned / run.pushed, 1 - 1 / rho
    guaranteed = int(args.pushes / rho)
    forced = grown.get("jointcap_forced_total", 0)
    wrong = []
    if not aim - 0.01 <= rate <= aim + run.slack / run.pushed:
        wrong.append("rate")
    if run.beyond > run.slack + 1:
        wrong.append("allowance")
    if run.filled + run.broken < guaranteed * 0.99:
        wrong.append("guarantee")
    if run.filled - forced > args.persons or run.pushed != run.returned + run.filled + run.broken:
        wrong.append("forced")
    if run.broken > (args.connections if kill else 0) or counted > run.pushed:
        wrong.append("counts")
    print(f"{workers} workers  rho {rho}  pushed {run.pushed}  returned {run.returned} = {rate:.2%} "
          f"of {aim:.2%} ({100 * (rate - aim):+.2f} points)  beyond the allowance at worst "
          f"{run.beyond:+.1f} (slack {run.slack})  filled {run.filled} of {guaranteed} guaranteed, "
          f"forced {forced:.0f}  Redis: pushed {counted} returned {settled} leased {out}"
          + (f"  killed -9 half-way, {run.broken} broken" if kill else "")
          + (f"  FAILED: {', '.join(wrong)}" if wrong else ""), flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pushes", type=int, default=20000)
    parser.add_argument("--persons", type=int, default=300)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=int, default=1500, help="pushes per second")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    timezone, elapsed_s = evening_timezone()
    print(f"{args.pushes} pushes of a PDB deal in each run, {args.rate}/s, {args.persons} persons at "
          f"their cap after one impression; {timezone}, {(DAY_S - elapsed_s) // 60} minutes left of "
          f"the day; seed {args.seed}", flush=True)
    wrong = []
    for workers in (1, 4):
        for rho in (1.2, 1.5, 2.0):
            wrong += play(args, workers, rho, False)
    wrong += play(args, 4, 1.5, True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
