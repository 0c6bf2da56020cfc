"""More requests than the bidder can decide: what is answered in time, what is shed, what is bid on."""
import contextlib

import bidder as bidder_module
import metrics

CONNECTIONS = 1024  # an exchange that opens more and more of them
DEADLINE_US = 95_000  # tmax 100 ms less the margin of the benchmark's catalog


def step(bench, started, name, options, connections):
    before = metrics.read(started.metrics_url)
    result = bench.load(started.url, *options, seconds=bench.plan.step_s, connections=connections)
    change = metrics.difference(before, metrics.read(started.metrics_url))
    no_bids = metrics.no_bids(change)
    row = {"name": name, "target": result["target_rate"], "delivered": result["delivered_rate"],
           "service_us": result["service_us"], "outcomes": result["outcomes"],
           "requests": change[("jointcap_bid_requests_total",)], "no_bids": no_bids,
           "bids": change[("jointcap_bid_responses_total",)],
           "shed": no_bids.get("overloaded", 0) + no_bids.get("rate_limited", 0),
           "late": sum(no_bids.get(reason, 0) for reason in (
               "store_late", "store_down", "reserve_failed", "answer_late", "no_time"))}
    bench.say(f"  {name:>20}: answered {row['delivered']:,.0f}/s, p99.9 "
              f"{row['service_us']['p99.9'] / 1000:.1f} ms, bids {row['bids'] / row['requests']:.0%}, "
              f"shed {row['shed'] / row['requests']:.0%}")
    return row


def run(bench):
    with contextlib.ExitStack() as stack:
        started = bidder_module.start(bench, stack, lines=1000)
        if not started:
            return
        rows = [step(bench, started, "saturated", ["--saturate"], 64)]
        rate = round(2 * rows[0]["delivered"])
        rows.append(step(bench, started, "twice the rate", ["--rate", rate, "--poisson"],
                         CONNECTIONS))
        rows.append(step(bench, started, "as fast as answered", ["--saturate"], CONNECTIONS))
    bench.results["overload"] = rows


def report(results, table):
    rows = []
    for row in results["overload"]:
        requests, service = max(1, row["requests"]), row["service_us"]
        rows.append([row["name"], f"{row['target']:,.0f}", f"{row['delivered']:,.0f}",
                     *(f"{service[q] / 1000:.1f}" for q in ("p50", "p99", "p99.9", "max")),
                     *(f"{100 * row[key] / requests:.1f}%" for key in ("bids", "shed", "late")),
                     f"{row['outcomes']['timeout'] + row['outcomes']['closed']}"])
    return ["## Overload", "",
            f"64 connections, then {CONNECTIONS:,}. Times are from the actual send to the answer, ms; the "
            f"deadline is {DEADLINE_US // 1000} ms. Shed: answered with a counted no-bid because it had waited "
            "longer than shed_lag. Late: worked on in vain.", "",
            *table(["step", "target/s", "answered/s", "p50", "p99", "p99.9", "max", "bids", "shed",
                    "late", "unanswered"], rows)]
