#!/usr/bin/env python3
"""Do the caps hold? Four real workers, a real Redis, persons drawn with a skew who come in bursts over
several connections and media at once; notices late, doubled and lost; one worker killed half-way.

The truth is kept here: what was shown to whom. Afterwards everybody is asked for again until nobody
bids, so that whoever is still below the cap shows up.

  over   persons shown more than the cap allows                                must be 0
  under  persons below the cap although they were asked for until nobody bid,
         and no place of theirs is held: not by a bid whose loss was never told,
         not by a request that was under way in the killed worker              must be 0

With --cluster Redis is a cluster of three masters and three replicas; with --kill-master one of its
masters is killed -9 together with the worker, and its replica takes over.

A reservation holds reserve_seconds; the run must be shorter than that, because afterwards an
impression whose every notice was lost is forgotten by design (frequency/README.md)."""
import argparse
import asyncio
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time

import drive  # finds the others
import catalogs
import cluster_redis
import harness

MEDIA = ["iqiyi", "youku", "tencent", "mgtv", "bilibili", "sohu"]


def make_catalog(cap):
    """Six media, one joint cap over a PD line on each and an RTB line on all."""
    value = catalogs.catalog()
    value["exchanges"] = [{"id": medium, "no_bid": "204", "seat": "s", "tmax_ms": 10000,
                           "ids": ["device.ifa"]} for medium in MEDIA]
    value["frequency_caps"] = [{"id": "joint", "max": cap, "window": {"rolling": "7d"}}]
    value["deals"] = [{"id": f"PD-{medium}", "exchange": medium, "buying": "pd", "owner": "red",
                       "cpm": 18} for medium in MEDIA]
    value["campaigns"] = [
        {"id": "red-c", "brand": "red", "start": "2026-01-01", "end": "2035-12-31",
         "frequency_caps": ["joint"],
         "line_items": [{"id": f"pd-{medium}", "buying": "pd", "deals": [f"PD-{medium}"],
                         "creatives": ["red-video"]} for medium in MEDIA] +
                       [{"id": "red-rtb", "buying": "rtb", "bid_cpm": 10,
                         "creatives": ["red-banner"]}]}]
    value["creatives"] = value["creatives"][:2]
    return value


class Run:
    def __init__(self, args, jointcap, redis):
        self.args = args
        self.redis = redis
        self.jointcap = jointcap
        self.random = random.Random(args.seed)
        self.shown = [0] * args.persons
        self.asked = [False] * args.persons
        self.held = [0] * args.persons       # bids not shown whose loss was never told
        self.killed = [0] * args.persons     # requests that died with the worker
        self.requests = self.bids = self.no_bids = self.broken = 0
        self.notices = {"sent": 0, "lost": 0, "doubled": 0, "failed": 0}
        self.later = []                      # notices under way
        self.pool = drive.Pool(jointcap.host, jointcap.port, args.connections)
        weights = [1 / (k + 1) ** args.zipf for k in range(args.persons)]
        self.cumulative, total = [], 0.0
        for weight in weights:
            total += weight
            self.cumulative.append(total)

    def request_bytes(self, person, medium, slot):
        self.requests += 1
        imp = ({"id": "1", "bidfloor": 1, "bidfloorcur": "CNY", "banner": {"w": 300, "h": 250}}
               if slot % 2 else
               {"id": "1", "bidfloor": 1, "bidfloorcur": "CNY",
                "video": {"mimes": ["video/mp4"], "minduration": 5, "maxduration": 30,
                          "protocols": [2, 3, 7], "w": 640, "h": 480},
                "pmp": {"deals": [{"id": f"PD-{medium}", "bidfloor": 18, "bidfloorcur": "CNY",
                                   "at": 3}]}})
        body = json.dumps({"id": f"r{self.requests}", "imp": [imp], "cur": ["CNY"], "at": 1,
                           "app": {"bundle": "b"}, "device": {"ifa": f"person-{person}"}}).encode()
        return drive.post_bytes(f"/openrtb2/{medium}", body)

    async def notify(self, url, delay):
        await asyncio.sleep(delay)
        path = "/" + url.split("/", 3)[3].replace("${AUCTION_PRICE}", "9").replace("[ERRORCODE]", "0")
        for _ in range(5):  # exchanges repeat what was not answered
            answer = await self.pool.get(path)
            if answer and answer[0] < 500:
                self.notices["sent"] += 1
                return
            await asyncio.sleep(0.2)
        self.notices["failed"] += 1

    def notify_sometimes(self, url, delay):
        """Late, doubled, lost. True when at least one will be sent."""
        if self.random.random() < self.args.lost:
            self.notices["lost"] += 1
            return False
        self.later.append(asyncio.create_task(self.notify(url, delay)))
        if self.random.random() < self.args.doubled:
            self.notices["doubled"] += 1
            self.later.append(asyncio.create_task(self.notify(url, delay + self.random.random())))
        return True

    def on_bid(self, person, bid, sure):
        self.bids += 1
        delay = 0 if sure else self.random.random() * self.args.late
        impression = re.search(r"http[^\s\"<>\]]*/notice/impression/[A-Za-z0-9_-]+", bid["adm"])[0]
        if sure or self.random.random() < self.args.win_rate:
            self.shown[person] += 1
            if sure:
                self.later.append(asyncio.create_task(self.notify(impression, 0)))
            else:
                self.notify_sometimes(impression, delay)
                if bid.get("burl"):
                    self.notify_sometimes(bid["burl"], delay)
        else:
            if not self.notify_sometimes(bid["lurl"], delay):
                self.held[person] += 1

    async def ask(self, person, medium, slot, sure=False):
        """True when there was a bid."""
        self.asked[person] = True
        answer = await self.pool.send(self.request_bytes(person, medium, slot))
        if answer is None:
            self.broken += 1
            self.killed[person] += 1
            return False
        status, body = answer
        if status == 200:
            self.on_bid(person, json.loads(body)["seatbid"][0]["bid"][0], sure)
            return True
        if status != 204:
            raise SystemExit(f"status {status}: {body[:200]}")
        self.no_bids += 1
        return False

    async def visits(self, count):
        """Bursts: one person, several slots and media in the same moment."""
        limit = asyncio.Semaphore(self.args.connections)
        tasks = set()
        done = 0
        while done < count:
            person = self.random.choices(range(self.args.persons), cum_weights=self.cumulative)[0]
            for slot in range(self.random.choice((1, 1, 2, 3, 4))):
                medium = self.random.choice(MEDIA)
                await limit.acquire()
                task = asyncio.create_task(self.ask(person, medium, slot))
                task.add_done_callback(lambda _: limit.release())
                task.add_done_callback(tasks.discard)
                tasks.add(task)
                done += 1
        if tasks:
            await asyncio.gather(*tasks)

    async def sweep(self):
        """Asks for everybody until nobody bids."""
        async def until_no_bid(person):
            misses = 0
            while misses < 2:
                if not await self.ask(person, MEDIA[person % len(MEDIA)], 1, sure=True):
                    misses += 1

        persons = [p for p in range(self.args.persons) if self.asked[p]]
        for start in range(0, len(persons), 200):
            await asyncio.gather(*(until_no_bid(p) for p in persons[start:start + 200]))

    async def failover(self):
        """Until all slots are served again and the workers know."""
        while self.jointcap.readyz()[0] != 200 or len(self.redis.cluster.masters()) < 3:
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)

    async def run(self):
        half = self.args.requests // 2
        await self.visits(half)
        victim = self.jointcap.worker_pids()[1]
        killer = asyncio.create_task(self.visits(self.args.requests - half))
        await asyncio.sleep(0.5)
        os.kill(victim, signal.SIGKILL)
        if self.args.kill_master:
            self.redis.cluster.masters()[0].kill()
        await killer
        if self.args.kill_master:
            await self.failover()
        while self.later:
            late, self.later = self.later, []
            await asyncio.gather(*late)
        await asyncio.sleep(0.5)
        await self.sweep()
        while self.later:
            late, self.later = self.later, []
            await asyncio.gather(*late)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=20000)
    parser.add_argument("--requests", type=int, default=60000)
    parser.add_argument("--cap", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--zipf", type=float, default=0.7)
    parser.add_argument("--win-rate", type=float, default=0.8)
    parser.add_argument("--lost", type=float, default=0.1)
    parser.add_argument("--doubled", type=float, default=0.2)
    parser.add_argument("--late", type=float, default=5.0, help="seconds")
    parser.add_argument("--reserve-seconds", type=int, default=300)
    parser.add_argument("--cluster", action="store_true", help="Redis is a real cluster")
    parser.add_argument("--kill-master", action="store_true", help="and loses a master")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    args.cluster |= args.kill_master
    print(f"{args.persons} persons (zipf {args.zipf}), {args.requests} requests in bursts of 1-4 over "
          f"{len(MEDIA)} media, cap {args.cap}, {args.workers} workers, notices up to {args.late} s "
          f"late, {args.doubled:.0%} doubled, {args.lost:.0%} lost, one worker killed -9; "
          f"reserve_seconds {args.reserve_seconds}; "
          f"{'a cluster of three masters' if args.cluster else 'one Redis'}"
          f"{', one killed -9' if args.kill_master else ''}; seed {args.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="jointcap-caps-")
    redis = jointcap = None
    try:
        redis = cluster_redis.ClusterRedis(folder) if args.cluster else harness.Redis(folder)
        path = pathlib.Path(folder) / "catalog.json"
        path.write_text(json.dumps(make_catalog(args.cap)))
        jointcap = harness.Jointcap(folder, redis, catalog=path, workers=args.workers,
                                    redis_timeout="1s", shed_lag="5s",
                                    reserve_seconds=args.reserve_seconds)
        before = jointcap.metrics()
        started = time.monotonic()

        async def go():
            run = Run(args, jointcap, redis)
            await run.run()
            return run

        run = asyncio.run(go())
        seconds = time.monotonic() - started
        grown = jointcap.deltas(before)
    finally:
        for process in (jointcap, redis):
            if process:
                process.stop()
        shutil.rmtree(folder, ignore_errors=True)
    over = [p for p in range(args.persons) if run.shown[p] > args.cap]
    below = [p for p in range(args.persons) if run.asked[p] and run.shown[p] < args.cap]
    under = [p for p in below
             if run.shown[p] + run.held[p] + run.killed[p] < args.cap]
    print(f"requests {run.requests}  bids {run.bids}  no-bids {run.no_bids}  broken by the kill "
          f"{run.broken}  in {seconds:.1f} s")
    print("notices " + "  ".join(f"{name} {count}" for name, count in run.notices.items()))
    print("store   " + "  ".join(
        f"{re.search(chr(34) + '(.*)' + chr(34), name)[1]} {growth:.0f}"
        for name, growth in sorted(grown.items()) if "frequency_events" in name))
    print("no-bids " + "  ".join(
        f"{re.search(chr(34) + '(.*)' + chr(34), name)[1]} {growth:.0f}"
        for name, growth in sorted(grown.items()) if "jointcap_no_bids_total" in name))
    skipped = sum(growth for name, growth in grown.items() if name == "jointcap_uncapped_total")
    print(f"persons asked for {sum(run.asked)}  impressions {sum(run.shown)}  "
          f"decisions without counts {skipped:.0f}")
    print(f"places held by losses never told {sum(run.held)}  "
          f"by requests under way in the killed worker {sum(run.killed)}")
    print(f"over-exposures  {len(over)} persons")
    print(f"under-exposures {len(under)} persons ({len(below)} below the cap, the others' places are "
          f"held)")
    if seconds > args.reserve_seconds:
        print("the run took longer than reserve_seconds: lost notices no longer hold their places")
        return 2
    return 1 if over or under or skipped else 0


if __name__ == "__main__":
    sys.exit(main())
