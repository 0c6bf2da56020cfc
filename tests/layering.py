#!/usr/bin/env python3
"""Checks that includes point down only:
bidder/base < proto < frequency | pacing (siblings) < bidder, and which files may touch a library."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAY_INCLUDE = {
    "bidder/base": {"bidder/base"},
    "proto": {"proto", "bidder/base"},
    "frequency": {"frequency", "proto", "bidder/base"},
    "pacing": {"pacing", "proto", "bidder/base"},
    "bidder": {"bidder", "frequency", "pacing", "proto", "bidder/base"},
}
LIBRARY_IN = {  # header prefix -> files that may include it
    "hiredis/": {"bidder/base/redis_conn.c", "bidder/base/redis_reply.h",
                 "bidder/base/redis_sync.c"},
    "event2/": {"bidder/base/loop.h", "bidder/base/loop.c", "bidder/server.c", "bidder/conn.c", "bidder/dmp.c",
                "bidder/admin.c"},
    "nettle/": {"bidder/base/crypto.h", "bidder/base/crypto.c"},
    "zlib.h": {"bidder/base/gzip.c"},
    "cjson/": {"proto/openrtb_cjson_value.h"},  # the oracle only: cJSON takes what is not JSON
    "proto/openrtb.pb-c.h": {"proto/openrtb_pb_value.h"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def room(path):
    return "bidder/base" if path.startswith("bidder/base/") else path.split("/")[0]


def main():
    problems = []
    files = [f for top in ("bidder", "proto", "frequency", "pacing")
             for f in sorted((ROOT / top).rglob("*.[ch]"))]
    for file in files:
        name = str(file.relative_to(ROOT))
        for _, target in INCLUDE.findall(file.read_text()):
            for prefix, allowed in LIBRARY_IN.items():
                if target.startswith(prefix) and name not in allowed:
                    problems.append(f"{name} includes <{target}>; only {', '.join(sorted(allowed))} may")
            if (ROOT / target).exists() and room(target) not in MAY_INCLUDE[room(name)]:
                problems.append(f"{name} ({room(name)}) includes {target} ({room(target)})")
    print("\n".join(problems) or f"layering: {len(files)} files, includes point down only")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
