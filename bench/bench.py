#!/usr/bin/env python3
"""Measures the bidder and, in the same run, what the machine can do at all.

  bench.py                          everything, about 12 minutes
  bench.py --quick                  the same in a minute; the figures are rougher
  bench.py --only floor,ladder      some of: floor ladder overload lines persons
  bench.py --out FOLDER             instead of bench/results/<date>-<commit>/
  bench.py --policy other           ordinary priorities at fixed rates, too
  bench.py --keep-awake             no core halts during the ladder's fixed rates (idle=poll)

Servers run on core 0; the load generator and Redis share core 1. Candidates take turns, round by
round, so that a change of the machine's speed meets all of them; medians are given.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

import bidder as bidder_module
import catalog_gen
import metrics
import overload
import plots
import servers
from servers import LOAD_CORE, RELEASE, ROOT, SERVER_CORE

# The record of a person: a key of 14 bytes that is no ASCII, as frequency/freq_codec.h says.
PERSON_RECORDS = b"[\x80-\xff]" + b"?" * 13
BUSY = 0.5  # a load average before the run from which on others took part of the two cores
# A closed loop must keep the core busy while answers are on their way, but what is open at once has to
# stay in the caches: some servers are at their best with few connections, some with many.
FLOOR_CONNECTIONS = [64, 256]
FILL_EXPOSURES = 2  # of each person, before the persons are measured
SECTIONS = ["floor", "ladder", "overload", "lines", "persons"]


class Plan:
    """How long and how often."""

    def __init__(self, quick, keep_awake=False):
        self.quick = quick
        self.keep_awake = keep_awake
        self.rounds = 2 if quick else 5
        self.floor_s = 1.5 if quick else 3
        self.step_s = 3 if quick else 15
        self.warmup_s = 0.5 if quick else 1
        self.rates = [2000, 10000] if quick else [2000, 5000, 10000, 20000]
        self.lines = [10, 1000, 10000] if quick else [10, 100, 1000, 10000, 100000]
        self.persons = [1000, 1000000] if quick else [1000, 10000, 100000, 1000000, 10000000]


class Bench:
    def __init__(self, plan, folder, out):
        self.plan = plan
        self.folder = folder
        self.out = out
        self.count = 0
        self.seed = 0
        self.requests = folder / "requests"
        catalog_gen.write_requests(self.requests, 64, seed=1)
        self.protobuf_requests = folder / "protobuf"
        catalog_gen.write_requests(self.protobuf_requests, 64, seed=1, as_protobuf=True)
        self.results = {"machine": machine(), "commit": commit(), "quick": plan.quick,
                        "command": "python3 " + shlex.join(sys.argv),
                        "real_time": servers.real_time, "keep_awake": plan.keep_awake,
                        "date": datetime.datetime.now().astimezone().isoformat("T", "seconds")}

    def new_folder(self, name):
        self.count += 1
        path = self.folder / f"{self.count:03}-{name}"
        path.mkdir()
        return path

    def next_seed(self):
        """Another one for each run, so that no request id comes twice; the same in every bench."""
        self.seed += 1
        return self.seed

    def load(self, url, *options, seconds, connections=64, svg=None, requests=None):
        """One run of jointcap-load; its JSON, with exit_code beside."""
        path = self.folder / "load.json"
        command = [RELEASE / "jointcap-load", "--pin", LOAD_CORE, "--body",
                   requests or self.requests,
                   "--connections", connections, "--duration", seconds,
                   "--warmup", self.plan.warmup_s, "--seed", self.next_seed(), "--json", path,
                   *options]
        if svg:
            command += ["--svg", self.out / svg]
        done = subprocess.run([str(part) for part in [*command, url]], capture_output=True,
                              text=True,
                              preexec_fn=lambda: servers.settle(LOAD_CORE, servers.LOAD_PRIORITY))
        if done.returncode not in (0, 3):
            raise RuntimeError(f"jointcap-load: {done.stdout}{done.stderr}")
        return {**json.loads(path.read_text()), "exit_code": done.returncode}

    def say(self, text):
        print(text, flush=True)


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return {"cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(),
            "memory_gb": round(int(memory.group(1)) / 1048576, 1),
            "kernel": platform.release(), "virtual": " hypervisor" in flags,
            "load_before": os.getloadavg()[0],
            "redis": version(["redis-server", "--version"]), "nginx": version(["nginx", "-v"])}


def version(command):
    program = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        return None
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found.group(0) if found else None


# --- floor ----------------------------------------------------------------------------------------

def floor_candidates(bench, stack):
    """name -> (server, url, redis or None); what is not installed is left out."""
    found = {}

    def add(name, started, redis=None):
        if started is None:
            bench.say(f"  {name}: not installed, left out")
            return
        found[name] = (stack.enter_context(started[0]), started[1], redis)

    add("libevent", servers.floor_server("floor_libevent", bench.new_folder("libevent")))
    add("evhttp", servers.floor_server("floor_evhttp", bench.new_folder("evhttp")))
    add("nginx", servers.nginx("nginx", "nginx.conf", bench.new_folder("nginx")))
    redis = stack.enter_context(servers.Redis(bench.new_folder("lua-redis") / "redis"))
    add("nginx-lua-redis",
        servers.nginx("nginx-lua", "nginx-lua.conf", bench.new_folder("nginx-lua"),
                      REDIS=redis.socket), redis)
    started = bidder_module.start(bench, stack, lines=1000)
    if started:
        found["jointcap"] = (started.process, started.url, started.redis)
    return found


def floor_step(bench, server, url, redis, connections):
    cpu = server.cpu_s(), redis.cpu_s() if redis else 0
    result = bench.load(url, "--saturate", seconds=bench.plan.floor_s, connections=connections)
    wall_s = bench.plan.floor_s + bench.plan.warmup_s
    return {"rate": result["delivered_rate"], "p99_us": result["service_us"]["p99"],
            "generator_cpu": result["generator_cpu"],
            "server_cpu": (server.cpu_s() - cpu[0]) / wall_s,
            "redis_cpu": (redis.cpu_s() - cpu[1]) / wall_s if redis else 0,
            "bids": result["outcomes"]["bid"] / max(1, result["due"])}


def best_of(steps):
    """{connections: [step of each round]} -> the number of connections with the highest median"""
    medians = {connections: statistics.median(step["rate"] for step in found)
               for connections, found in steps.items()}
    best = max(medians, key=medians.get)
    row = {"connections": best, "median": medians[best], "medians": medians,
           "rates": [step["rate"] for step in steps[best]]}
    for key in ("p99_us", "generator_cpu", "server_cpu", "redis_cpu", "bids"):
        row[key] = [step[key] for step in steps[best]]
    return row


def run_floor(bench):
    plan, rows = bench.plan, {}
    with contextlib.ExitStack() as stack:
        candidates = floor_candidates(bench, stack)
        for round_number in range(plan.rounds):
            for name, (server, url, redis) in candidates.items():
                found = [floor_step(bench, server, url, redis, connections)
                         for connections in FLOOR_CONNECTIONS]
                for connections, step in zip(FLOOR_CONNECTIONS, found):
                    rows.setdefault(name, {}).setdefault(connections, []).append(step)
                bench.say(f"  round {round_number + 1} {name:<16}"
                          + "".join(f"{step['rate']:>10,.0f}/s" for step in found))
    rows = {name: best_of(steps) for name, steps in rows.items()}
    base = rows["nginx"]["median"] if "nginx" in rows else None
    for row in rows.values():
        row["of_nginx"] = row["median"] / base if base else None
    bench.results["floor"] = rows
    plots_rows = [(name, row["median"], f"({row['of_nginx']:.2f})" if base else "")
                  for name, row in rows.items()]
    (bench.out / "floor.svg").write_text(
        plots.bars("Saturated throughput of one core, requests/s (of nginx)", plots_rows, "/s"))


# --- ladder ---------------------------------------------------------------------------------------

def ladder_step(bench, started, options, name, requests=None):
    before, commands = metrics.read(started.metrics_url), started.redis.commands()
    cpu = started.process.cpu_s(), started.redis.cpu_s()
    seconds = bench.plan.step_s
    result = bench.load(started.url, *options, "--win-rate", 0.3, "--notice-delay", 200,
                        seconds=seconds, svg=f"latency-{name}.svg", requests=requests)
    change = metrics.difference(before, metrics.read(started.metrics_url))
    wall_s = seconds + bench.plan.warmup_s
    row = {"name": name, "target": result["target_rate"], "delivered": result["delivered_rate"],
           "is_delivered": result["delivered"], "latency_us": result["latency_us"],
           "service_us": result["service_us"], "late_us": result["late_us"],
           "outcomes": result["outcomes"], "notices": result["notices"], "generator_cpu": result["generator_cpu"],
           "bidder_cpu": (started.process.cpu_s() - cpu[0]) / wall_s,
           "redis_cpu": (started.redis.cpu_s() - cpu[1]) / wall_s,
           "wall_s": wall_s, "requests": change.get(("jointcap_bid_requests_total",), 0),
           "stages_us": metrics.stages(change), "no_bids": metrics.no_bids(change),
           "counters": metrics.counters(change),
           "redis": {name: (calls - commands.get(name, (0, 0))[0], us - commands.get(name, (0, 0))[1])
                     for name, (calls, us) in started.redis.commands().items()}}
    latency = row["latency_us"]
    bench.say(f"  {name:>8}: delivered {row['delivered']:,.0f}/s, p50 {latency['p50']:.0f} us, "
              f"p99 {latency['p99']:.0f} us, p99.9 {latency['p99.9']:.0f} us (generator late by "
              f"{row['late_us']['p99']:.0f} and {row['late_us']['p99.9']:.0f})")
    return row


def warnings(started):
    """What the bidder had to say: explains a request whose counts were missing."""
    lines = pathlib.Path(started.process.log.name).read_text(errors="replace").splitlines()
    return [line for line in lines if re.search(r" (warn|error) ", line) and "public_url" not in line]


def run_ladder(bench):
    with contextlib.ExitStack() as stack:
        started = bidder_module.start(bench, stack, lines=1000)
        if not started:
            return
        with servers.awake((SERVER_CORE, LOAD_CORE), bench.plan.keep_awake), started.in_real_time():
            rows = [ladder_step(bench, started, ["--rate", rate, "--poisson"], f"{rate}")
                    for rate in bench.plan.rates]
        rows.append(ladder_step(bench, started, ["--saturate"], "saturate"))
        rows.append(ladder_step(bench, started, ["--saturate"], "protobuf",
                                requests=bench.protobuf_requests))
        bench.results["ladder_warnings"] = warnings(started)[:20]
        for line in bench.results["ladder_warnings"]:
            bench.say(f"  bidder: {line}")
    bench.results["ladder"] = rows
    series = {q: [(row["delivered"], row["latency_us"][q]) for row in rows[:-2]]
              for q in ("p50", "p99", "p99.9")}
    (bench.out / "ladder.svg").write_text(plots.lines(
        "Latency from the planned send time over rate", "requests/s", "us", series))


def run_overload(bench):
    overload.run(bench)


# --- line items, persons --------------------------------------------------------------------------

def run_lines(bench):
    rows = []
    for lines in bench.plan.lines:
        with contextlib.ExitStack() as stack:
            started = bidder_module.start(bench, stack, lines=lines)
            if not started:
                return
            with started.in_real_time():
                steady = bench.load(started.url, "--rate", 2000, seconds=bench.plan.step_s / 2)
            full = bench.load(started.url, "--saturate", seconds=bench.plan.floor_s)
            row = {"lines": lines, "ready_s": started.ready_s, "bidding_s": started.bidding_s,
                   "catalog_bytes": started.catalog_bytes, "rss_bytes": started.process.rss_bytes(),
                   "service_us": steady["service_us"], "delivered": steady["delivered"],
                   "saturated": full["delivered_rate"],
                   "bids": full["outcomes"]["bid"] / max(1, full["due"])}
        rows.append(row)
        bench.say(f"  {lines:>7} line items: ready in {row['ready_s']:.2f} s, bidding after "
                  f"{row['bidding_s']:.1f} s, "
                  f"{row['rss_bytes'] / 1e6:.0f} MB, p50 {row['service_us']['p50']:.0f} us, "
                  f"{row['saturated']:,.0f}/s saturated")
    bench.results["lines"] = rows
    (bench.out / "lines.svg").write_text(plots.lines(
        "Service time at 2,000/s over line items", "line items", "us",
        {q: [(row["lines"], row["service_us"][q]) for row in rows] for q in ("p50", "p99")}))


def run_persons(bench):
    """Redis holds a record of every person before; each person is drawn alike often."""
    rows = []
    for persons in bench.plan.persons:
        with contextlib.ExitStack() as stack:
            started = bidder_module.start(bench, stack, lines=100)
            if not started:
                return
            empty_bytes = started.redis.used_bytes()
            filled_s = bidder_module.fill_persons(started.redis, persons, FILL_EXPOSURES)
            full = bench.load(started.url, "--saturate", "--persons", persons, "--zipf", 0,
                              "--win-rate", 0.3, "--notice-delay", 50,
                              seconds=bench.plan.step_s / 2)
            with started.in_real_time():
                steady = bench.load(started.url, "--rate", 5000, "--persons", persons, "--zipf", 0,
                                    seconds=bench.plan.step_s / 2)
            records, record_bytes = started.redis.keys_like(PERSON_RECORDS)
            used = started.redis.used_bytes() - empty_bytes
            row = {"persons": persons, "filled_s": filled_s, "records": records, "record_bytes": record_bytes,
                   "used_bytes": used, "bytes_per_record": used / max(1, records),
                   "saturated": full["delivered_rate"], "service_us": steady["service_us"],
                   "bids": full["outcomes"]["bid"] / max(1, full["due"])}
        rows.append(row)
        bench.say(f"  {persons:>9} persons: {row['saturated']:,.0f}/s saturated, p99 "
                  f"{row['service_us']['p99']:.0f} us at 5,000/s, {records:,} records of "
                  f"{record_bytes:.0f} bytes")
    bench.results["persons"] = rows
    (bench.out / "persons.svg").write_text(plots.lines(
        "Saturated rate over persons with a record in Redis", "persons", "requests/s",
        {"saturated": [(row["persons"], row["saturated"]) for row in rows]}, y_log=False))


# --- report ---------------------------------------------------------------------------------------

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return lines + [""]


def report_floor(results):
    rows = [[name, f"{row['median']:,.0f}",
             f"{row['of_nginx']:.2f}" if row["of_nginx"] else "-", row["connections"],
             f"{min(row['rates']):,.0f} - {max(row['rates']):,.0f}",
             *(f"{row['medians'][count]:,.0f}" for count in FLOOR_CONNECTIONS),
             f"{statistics.median(row['p99_us']):,.0f}",
             f"{100 * statistics.median(row['bids']):.0f}%",
             *(f"{100 * statistics.median(row[key]):.0f}%"
               for key in ("server_cpu", "redis_cpu", "generator_cpu"))]
            for name, row in results["floor"].items()]
    lua, own = results["floor"].get("nginx-lua-redis"), results["floor"].get("jointcap")
    words = []
    if own and own["of_nginx"]:
        words = [f"The bidder reaches {own['of_nginx']:.2f} of nginx's constant answer"
                 + (f" and {own['median'] / lua['median']:.1f} times the bidder in Lua."
                    if lua else "."), ""]
    return ["## One core, saturated", "", *words,
            f"Closed loops of {' and of '.join(map(str, FLOOR_CONNECTIONS))} connections; each server's "
            "better median counts.", "", "![floor](floor.svg)", "", *table(
        ["server", "requests/s", "of nginx", "connections", "range",
         *(f"at {count}" for count in FLOOR_CONNECTIONS), "p99 us", "bids", "server core",
         "Redis core", "generator core"], rows)]


def cpu_us(row, key):
    """Processor time per bid request, of the whole step with its warm-up; a busy machine changes it
    little."""
    return 1e6 * row[key] * row["wall_s"] / max(1, row["requests"])


def report_ladder(results):
    rows, stage_rows, count_rows, redis_rows = [], [], [], []
    for row in results["ladder"]:
        counters, no_bids = row["counters"], row["no_bids"]
        requests = max(1, counters.get("jointcap_http_requests_total", 0))
        late = sum(no_bids.get(reason, 0) for reason in ("store_late", "store_down",
                                                         "reserve_failed"))
        count_rows.append([row["name"], f"{counters.get('jointcap_uncapped_total', 0):,.0f}",
                           f"{late:,.0f}",
                           *(f"{counters.get('jointcap_http_system_calls_total ' + call, 0) / requests:.2f}"
                             for call in ("recv", "send")),
                           f"{counters.get('jointcap_loop_turns_total', 0) / requests:.2f}",
                           ", ".join(f"{reason} {count:,.0f}" for reason, count in sorted(
                               no_bids.items(), key=lambda item: -item[1])[:4])])
        latency, total = row["latency_us"], max(1, sum(row["outcomes"].values()))
        rows.append([row["name"], f"{row['target']:,.0f}",
                     f"{row['delivered']:,.0f}" + ("" if row["is_delivered"] else " (!)"),
                     *(f"{latency[q]:,.0f}" for q in ("p50", "p99", "p99.9", "p99.99", "max")),
                     f"{row['late_us']['p99.9']:,.0f}",
                     f"{100 * row['outcomes']['bid'] / total:.0f}%",
                     *(f"{100 * row[key]:.0f}%"
                       for key in ("bidder_cpu", "redis_cpu", "generator_cpu")),
                     *(f"{cpu_us(row, key):.1f}" for key in ("bidder_cpu", "redis_cpu"))])
        requests = max(1, row["requests"])
        often = sorted(row["redis"].items(), key=lambda item: -item[1][0])[:7]
        redis_rows.append([row["name"],
                           *(f"{sum(values[i] for values in row['redis'].values()) / requests:.2f}"
                             for i in (0, 1)),
                           ", ".join(f"{name} {calls / requests:.2f}" for name, (calls, _) in often)])
        for stage, values in row["stages_us"].items():
            stage_rows.append([row["name"], stage, f"{values['count']:,.0f}",
                               *(f"{values[q]:,.1f}" for q in ("p50", "p99", "p99.9"))])
    return ["## Latency ladder", "",
            "From the planned send time, us; Poisson arrivals, 30% of the bids win and are notified. The "
            "last two are closed loops, with JSON and with the same requests in protobuf. Sent late: how "
            "far behind its own plan the generator was, which is part of the latencies.",
            "", "![ladder](ladder.svg)", "",
            *table(["step", "target/s", "delivered/s", "p50", "p99", "p99.9", "p99.99", "max",
                    "sent late p99.9", "bids", "bidder core", "Redis core", "generator core", "bidder us/request",
                    "Redis us/request"], rows),
            "Cap checks skipped (bids on capped lines without counts), requests whose counts did not "
            "come in time, system calls and waits per request, most frequent reasons not to bid:", "",
            *table(["step", "checks skipped", "no counts", "recv", "send", "epoll", "no bids"],
                   count_rows),
            *([*("    " + line for line in results["ladder_warnings"]), ""]
              if results.get("ladder_warnings") else []),
            "Redis commands per bid request, and the time in them (us per request, without parsing and "
            "sending):", "", *table(["step", "commands", "us", "most frequent"], redis_rows),
            "Inside the bidder, by stage, us:", "",
            *table(["step", "stage", "count", "p50", "p99", "p99.9"], stage_rows)]


def report_lines(results):
    rows = [[f"{row['lines']:,}", f"{row['ready_s']:.2f}", f"{row['bidding_s']:.1f}",
             f"{row['catalog_bytes'] / 1e6:.1f}",
             f"{row['rss_bytes'] / 1e6:.0f}", f"{row['service_us']['p50']:.0f}",
             f"{row['service_us']['p99']:.0f}", f"{row['saturated']:,.0f}",
             f"{100 * row['bids']:.0f}%"] for row in results["lines"]]
    by_lines = {row["lines"]: row for row in results["lines"]}
    words = []
    if 10 in by_lines and 10000 in by_lines:
        few, many = by_lines[10], by_lines[10000]
        words = ["From 10 to 10,000 line items the median service time at 2,000/s grows "
                 f"{many['service_us']['p50'] / few['service_us']['p50']:.2f} times, the time per request "
                 f"at saturation {few['saturated'] / many['saturated']:.2f} times.", ""]
    return ["## Line items", "", *words, "![lines](lines.svg)", "",
            *table(["line items", "ready s", "bidding s", "catalog MB", "bidder MB", "p50 us at 2,000/s",
                    "p99 us", "saturated/s", "bids"], rows)]


def report_persons(results):
    rows = [[f"{row['persons']:,}", f"{row['filled_s']:.1f}", f"{row['saturated']:,.0f}", f"{row['service_us']['p50']:.0f}",
             f"{row['service_us']['p99']:.0f}", f"{row['records']:,}",
             f"{row['record_bytes']:.0f}", f"{row['bytes_per_record']:.0f}",
             f"{100 * row['bids']:.0f}%"]
            for row in results["persons"]]
    return ["## Persons", "", "![persons](persons.svg)", "",
            f"Before, every person gets a record with {FILL_EXPOSURES} exposures of days ago; then all are "
            "drawn alike often, 30% of the bids win. A record is what is kept of one id of a person. Beside it Redis holds notices that were "
            "already applied, budgets and reports; the last column shares them out, too.", "",
            *table(["persons", "filled s", "saturated/s", "p50 us at 5,000/s", "p99 us", "records in Redis",
                    "bytes each", "bytes of Redis per record", "bids"], rows)]


def priorities(results):
    text = ("At fixed rates bidder and Redis ran with real-time priority (SCHED_RR), the generator with a "
            "lower one, as deploy/ recommends for cores of their own; at saturation everything ran with "
            "ordinary priority."
            if results["real_time"] else "Ordinary priorities (SCHED_OTHER).")
    if results["keep_awake"]:
        text += (" At fixed rates loops of the lowest priority kept the cores from halting, as idle=poll "
                 "does on a machine of its own.")
    return text


def report(results):
    machine_row = results["machine"]
    lines = [f"# {results['date'][:10]}, commit {results['commit']}"
             + (" (quick)" if results["quick"] else ""), "",
             f"{machine_row['cpu']}, {machine_row['cores']} cores"
             f"{' (virtual)' if machine_row['virtual'] else ''}, {machine_row['memory_gb']} GB, "
             f"kernel {machine_row['kernel']}, Redis {machine_row['redis']}, "
             f"nginx {machine_row['nginx']}; load average before: "
             f"{machine_row['load_before']:.2f}."
             + (" **The machine was busy: these figures say little.**"
                if machine_row["load_before"] > BUSY else ""),
             "", priorities(results), "", f"    {results['command']}", ""]
    for name, part in (("floor", report_floor), ("ladder", report_ladder),
                       ("overload", lambda found: overload.report(found, table)),
                       ("lines", report_lines), ("persons", report_persons)):
        if results.get(name):
            lines += part(results)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        default=os.environ.get("BENCH_QUICK") == "1")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--policy", choices=["rr", "other"])
    parser.add_argument("--keep-awake", action="store_true")
    args = parser.parse_args()
    wanted = args.only.split(",")
    if set(wanted) - set(SECTIONS):
        parser.error(f"--only takes {', '.join(SECTIONS)}")
    if os.cpu_count() < 2:
        sys.exit("bench.py needs two cores: one for the server, one for the load")
    servers.real_time = servers.may_be_real_time() and args.policy != "other"
    if args.policy == "rr" and not servers.real_time:
        sys.exit("bench.py: real-time priorities are not permitted here")
    out = args.out or ROOT / "bench/results" / f"{datetime.date.today()}-{commit()}"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jointcap-bench-") as folder:
        bench = Bench(Plan(args.quick, args.keep_awake), pathlib.Path(folder), out)
        if bench.results["machine"]["load_before"] > BUSY:
            bench.say("the machine is busy: these figures will say little")
        bench.say(priorities(bench.results))
        for section in wanted:
            bench.say(f"{section}:")
            globals()[f"run_{section}"](bench)
            (out / "results.json").write_text(json.dumps(bench.results, indent=1))
            (out / "README.md").write_text(report(bench.results))
    print(f"results: {out}")


if __name__ == "__main__":
    main()
