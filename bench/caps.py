#!/usr/bin/env python3
"""`make bench-caps`: starts a private redis-server and lets bench_caps measure the real store on it:
bytes per person, latency of read and reserve, saturation; then compares the designs.

    bench/caps.py [--rate 5000] [--seconds 10] [--persons 200000] [--no-designs]
"""
import argparse
import pathlib
import subprocess

import caps_designs

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--persons", type=int, default=200000)
    parser.add_argument("--no-designs", action="store_true")
    args = parser.parse_args()
    redis = caps_designs.Redis()
    bench = [ROOT / "build/release/bench/bench_caps", f"unix:{redis.folder}/s"]
    try:
        print(f"## Memory: {args.persons} persons, the same for 1, 4, 8 or 16 caps\n", flush=True)
        subprocess.run([*bench, "memory", str(args.persons)], check=True)
        print(f"\n## Latency at {args.rate}/s\n", flush=True)
        subprocess.run([*bench, "latency", str(args.rate), str(args.seconds)], check=True)
        print("\n## Saturation\n", flush=True)
        for workers in (1, 2):
            subprocess.run([*bench, "saturate", str(args.seconds), str(workers)], check=True)
    finally:
        redis.stop()
    if not args.no_designs:
        print("\n## Designs\n", flush=True)
        subprocess.run([ROOT / "bench/caps_designs.py"], check=True)


if __name__ == "__main__":
    main()
