"""Reads the bidder's /metrics (Prometheus text) and compares two readings."""
import re

import servers

LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PREFIX = "jointcap_"


def parse(text):
    """{(name, (label, value), ...): number}"""
    values = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            labels = sorted(LABEL.findall(found.group(2) or ""))
            values[(found.group(1), *labels)] = float(found.group(3))
    return values


def read(url):
    return parse(servers.http_get(url))


def difference(before, after):
    return {key: value - before.get(key, 0) for key, value in after.items()}


def quantile(buckets, fraction):
    """buckets: [(upper bound in seconds, count up to it)], interpolated inside a bucket; in us."""
    total = buckets[-1][1]
    rank, low, below = fraction * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            if bound == float("inf"):
                return low * 1e6
            return (low + (bound - low) * (rank - below) / (count - below)) * 1e6
        low, below = bound, count
    return low * 1e6


def stages(change):
    """{stage: {count, p50, p99, p99.9}} in us"""
    found = {}
    for key, value in change.items():
        labels = dict(key[1:])
        if key[0] == PREFIX + "stage_seconds_bucket":
            found.setdefault(labels["stage"], []).append((float(labels["le"]), value))
    rows = {}
    for stage, buckets in found.items():
        buckets.sort()
        if buckets[-1][1] > 0:
            rows[stage] = {"count": buckets[-1][1], "p50": quantile(buckets, 0.5),
                           "p99": quantile(buckets, 0.99), "p99.9": quantile(buckets, 0.999)}
    return rows


def no_bids(change):
    return {dict(key[1:])["reason"]: value for key, value in change.items()
            if key[0] == PREFIX + "no_bids_total" and value}


def counters(change):
    """Counters without labels, and system calls by kind."""
    return {key[0] + "".join(f" {value}" for _, value in key[1:]): value
            for key, value in change.items()
            if value and key[0].endswith("_total") and (len(key) == 1 or "calls" in key[0])}
