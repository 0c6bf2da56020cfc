#!/usr/bin/env python3
"""Does a warm request allocate? A release bidder with alloc_watch preloaded answers requests in JSON
and protobuf, read and reserved in a real Redis, won and notified; every allocation of its worker is
counted by the place it is made from.

  by our code    must be 0; what may grow to the largest that was met is listed in GROWING, counted
                 apart, and may be GROWTH_BUDGET per request
  by libraries   at most LIBRARY_BUDGET per request

Ends with 1 when that does not hold. Run by `make alloc-check`."""
import argparse
import contextlib
import mmap
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import bench  # noqa: E402
import bidder  # noqa: E402
import metrics  # noqa: E402
import servers  # noqa: E402

WATCHER = servers.RELEASE / "alloc_watch.so"
HEAD, SITE = struct.Struct("=5Q"), struct.Struct("=2Q12Q64s")
SITES = 256
LIBRARY_BUDGET = GROWTH_BUDGET = 0.002
# Own functions that enlarge what is kept, with the reason.
GROWING = {
    "slab_room": "a pooled read keeps room for the longest record it has met, up to 512 exposures",
    "buf_reserve_slow": "a reused buffer keeps the size of the longest text it has met",
}


class Watch:
    """The table that the preloaded library writes."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(HEAD.size + SITES * SITE.size)
            self.memory = mmap.mmap(file.fileno(), 0)

    def count(self, pid):
        """0: nobody."""
        self.memory[0:8] = struct.pack("=Q", pid)

    def sites(self):
        """[(count, bytes, by us?, frames as offsets in the program, object)], most often first."""
        _, begin, end, _, lost = HEAD.unpack_from(self.memory, 0)
        if lost:
            raise SystemExit(f"{lost} allocations from more places than the table holds")
        found = []
        for number in range(SITES):
            count, size, *rest = SITE.unpack_from(self.memory, HEAD.size + number * SITE.size)
            if count:
                frames, name = [frame for frame in rest[:-1] if frame], rest[-1]
                ours = bool(frames) and begin <= frames[0] < end
                found.append((count, size, ours, [frame - begin - 1 if begin <= frame < end else None
                                                  for frame in frames],
                              name.split(b"\0")[0].decode(errors="replace")))
        return sorted(found, key=lambda site: -site[0])


def functions(offsets):
    """Names and places of program offsets, innermost first; inlined ones too."""
    if not offsets:
        return []
    done = subprocess.run(["addr2line", "-f", "-s", "-e", servers.RELEASE / "jointcap",
                           *(hex(offset) for offset in offsets)],
                          capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    return [f"{name} ({place})" for name, place in zip(lines[::2], lines[1::2])]


def measure(folder, seconds):
    runs = bench.Bench(bench.Plan(quick=True), folder, folder)
    with contextlib.ExitStack() as stack:
        env = {**os.environ, "LD_PRELOAD": str(WATCHER), "ALLOC_WATCH": str(folder / "watch")}
        watch = Watch(folder / "watch")
        started = bidder.start(runs, stack, lines=1000, env=env)

        def load():
            for requests in (runs.requests, runs.protobuf_requests):
                runs.load(started.url, "--saturate", "--win-rate", 0.3, "--notice-delay", 50,
                          connections=16, seconds=seconds, requests=requests)

        load()
        before = metrics.read(started.metrics_url)
        watch.count(started.process.family()[1])
        load()
        watch.count(0)
        change = metrics.difference(before, metrics.read(started.metrics_url))
        return watch.sites(), change


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="per format, warm-up the same")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jointcap-alloc-") as name:
        sites, change = measure(pathlib.Path(name), args.seconds)
    requests = change.get(("jointcap_bid_requests_total",), 0)
    notices = change.get(("jointcap_http_requests_total",), 0) - requests
    totals = {"ours": 0, "growth": 0, "library": 0}
    print(f"{requests:,.0f} bid requests, {notices:,.0f} notices and others")
    for count, size, ours, frames, name in sites:
        names = functions([frame for frame in frames if frame is not None])
        reason = next((GROWING[key] for key in GROWING
                       if ours and names and names[0].startswith(key)), None)
        kind = "growth" if reason else "ours" if ours else "library"
        totals[kind] += count
        print(f"  {kind:8}{count:>8}  {size:>10} bytes  {'' if ours else name + ' <- '}"
              f"{' <- '.join(names[:6])}{f'  [{reason}]' if reason else ''}")
    each = {kind: count / max(1, requests) for kind, count in totals.items()}
    print(f"by our code: {totals['ours']}; growth: {totals['growth']}, {each['growth']:.5f} a request; "
          f"by libraries: {totals['library']}, {each['library']:.5f} a request "
          f"(budgets {GROWTH_BUDGET}, {LIBRARY_BUDGET})")
    calls = {key[1][1]: value for key, value in change.items()
             if key[0] == "jointcap_http_system_calls_total"}
    print("system calls per HTTP request: " + ", ".join(
        f"{name} {value / max(1, requests + notices):.2f}" for name, value in sorted(calls.items())))
    if requests < 1000:
        raise SystemExit("too few requests to say anything")
    return 1 if (totals["ours"] or each["growth"] > GROWTH_BUDGET or
                 each["library"] > LIBRARY_BUDGET) else 0


if __name__ == "__main__":
    sys.exit(main())
