#!/usr/bin/env python3
"""What joint caps, new reach, rotation and swaps do to reach: one seeded population, one week, the
real bidder and a real Redis, bought in six ways. `make lift`; `PLOT=1 make lift` draws histograms.

Every arm sees the same persons and the same visits (tests/drive/drive_lift.c). The week is
compressed: a run of a minute or two is the whole week. Caps of "3 per 7 days" hold for all of it,
so nothing but the clock is different; days, dayparts and daily budgets are left out of the catalog.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("JOINTCAP_VARIANT", "release")
sys.path.insert(0, str(ROOT / "tests/integration"))
import harness  # noqa: E402
from dmp_server import free_port  # noqa: E402

MEDIA, GROUP, ALL = range(6), "abc", "abcx"
VIDEO_CPM, DISPLAY_CPM, CAP = 25, 8, 3
WEEK = {"rolling": "7d"}
ARMS = [("a", "own caps, nothing returned"),
        ("a2", "own caps, with PDB return"),
        ("b", "joint cap with PDB return"),
        ("c", "b + new-reach display"),
        ("d", "c + rotation in the group"),
        ("e", "d + swaps in the group"),
        ("f", "e + swaps through a DMP")]
LABEL = {"a2": "a'"}


# --- catalogs -----------------------------------------------------------------------------------

def brand(name, joint):
    value = {"id": name, "audience": f"ta-{name}"}
    if joint:
        value["frequency_caps"] = [f"joint-{name}"]
    return value


def video_line(name, medium, arm):
    owners = GROUP if arm >= "d" and name in GROUP else name
    value = {"id": f"{name}-{medium}", "buying": "pdb", "creatives": [f"{name}-video"],
             "deals": [f"D-{owner}-{medium}" for owner in owners]}
    if arm in ("a", "a2"):
        value["frequency_caps"] = [f"own-{name}-{medium}"]
    return value


def display_line(name, arm, options):
    bought = int(options.persons * options.display * 0.5 * options.share[name])
    value = {"id": f"{name}-display", "buying": "rtb", "bid_cpm": DISPLAY_CPM,
             "creatives": [f"{name}-banner"],
             "budget": {"total": max(1, bought), "unit": "impressions", "pacing": "asap"}}
    if arm in ("a", "a2"):
        value["frequency_caps"] = [f"own-{name}-display"]
    if arm >= "c":
        value["new_reach_only"] = True
    return value


def campaign(name, arm, options):
    lines = [video_line(name, medium, arm) for medium in MEDIA]
    if name in GROUP:
        lines.append(display_line(name, arm, options))
    return {"id": f"{name}-week", "brand": name, "start": "2026-01-01", "end": "2035-12-31",
            "line_items": lines}


def deal(name, medium, arm, options):
    value = {"id": f"D-{name}-{medium}", "exchange": "x", "buying": "pdb", "owner": name,
             "cpm": VIDEO_CPM}
    if arm != "a" or name not in GROUP:
        value["push_ratio"] = options.rho
    return value


def creatives(name):
    yield {"id": f"{name}-video", "type": "video", "duration": 15, "w": 640, "h": 480,
           "mime": "video/mp4", "url": "https://cdn.example/v.mp4",
           "landing": "https://g.example/"}
    if name in GROUP:
        yield {"id": f"{name}-banner", "type": "banner", "w": 300, "h": 250,
               "image": "https://cdn.example/b.png", "landing": "https://g.example/"}


def swaps(arm, options):
    planned = {name: int(options.persons * options.video * options.share[name]) for name in GROUP}
    planned["x"] = int(options.persons * options.other)
    pairs = [("a", "b"), ("a", "c"), ("b", "c")] if arm >= "e" else []
    pairs += [(name, "x") for name in GROUP] if arm >= "f" else []
    return [{"id": one + two, "between": [one, two],
             "planned_impressions": min(planned[one], planned[two]),
             **({"consent": True, "dmp": "cdp"} if two == "x" else {})} for one, two in pairs]


def catalog(arm, options, dmp_port):
    joint = arm not in ("a", "a2")
    caps = [{"id": f"joint-{name}", "max": CAP, "window": WEEK} for name in ALL
            if joint or name == "x"]
    if not joint:
        caps += [{"id": f"own-{name}-{place}", "max": CAP, "window": WEEK}
                 for name in ALL for place in [*MEDIA, "display"]
                 if name in GROUP or place != "display"]
    value = {
        "timezone": "Asia/Shanghai", "currency": "CNY",
        "exchanges": [{"id": "x", "no_bid": "204", "tmax_ms": 5000, "ids": ["device.ifa"]}],
        "advertisers": [
            {"id": "group", "domain": "g.example", "categories": ["IAB8"],
             "brands": [brand(name, joint) for name in GROUP]},
            {"id": "other", "domain": "x.example", "categories": ["IAB8"],
             "brands": [brand("x", True)]}],
        "audiences": [{"id": f"ta-{name}", "any": [f"seg-{name}"],
                       "none": [f"seg-{other}" for other in ALL if other != name]}
                      for name in ALL],
        "frequency_caps": caps,
        "deals": [deal(name, medium, arm, options) for name in ALL for medium in MEDIA],
        "campaigns": [campaign(name, arm, options) for name in ALL],
        "creatives": [item for name in ALL for item in creatives(name)],
        "swaps": swaps(arm, options)}
    if arm >= "d":
        value["rotations"] = [{"id": "group",
                               "deals": [f"D-{name}-{medium}" for name in GROUP
                                         for medium in MEDIA],
                               "brands": [{"brand": name, "share": options.share[name]}
                                          for name in GROUP]}]
    if arm >= "f":
        value["dmps"] = [{"id": "cdp", "url": f"http://127.0.0.1:{dmp_port}/",
                          "deadline_ms": 100, "cache": "7d"}]
    return value


# --- one run ------------------------------------------------------------------------------------

def driver_options(options):
    return ["--persons", options.persons, "--seed", options.seed, "--overlap", options.overlap,
            "--video", options.video, "--other", options.other, "--display", options.display,
            "--rho", options.rho, "--sigma", options.sigma, "--seconds", options.seconds,
            "--shares", ",".join(str(options.share[name]) for name in GROUP),
            "--targets", ",".join(str(options.target[name]) for name in ALL)]


def drive(what, *more):
    command = [harness.BUILD / "drive_lift", what, *more]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        raise SystemExit(f"drive_lift {what} failed")
    return done.stdout


def load_segments(folder, redis, options):
    path = pathlib.Path(folder, "segments.csv")
    path.write_text(drive("segments", *driver_options(options)))
    subprocess.run([str(harness.JOINTCAPCTL), "audience", "load", str(path),
                    f"--redis={redis.address}"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL,
                   env={**os.environ, "JOINTCAP_SECRET": harness.SECRET})


def ledgers(redis):
    """Per swap what the two sides gave."""
    found = []
    for key in redis.command("KEYS", "s:*"):
        given = [int(value or 0) for value in redis.command("HMGET", key, "S0", "S1")]
        found.append(given)
    return found


def run(arm, options):
    folder = tempfile.mkdtemp(prefix="jointcap-lift-")
    redis = bidder = None
    try:
        redis = harness.Redis(folder)
        load_segments(folder, redis, options)
        dmp_port = free_port()
        path = pathlib.Path(folder, "catalog.json")
        path.write_text(json.dumps(catalog(arm, options, dmp_port)))
        bidder = harness.Jointcap(folder, redis, catalog=path, workers=2, redis_timeout="1s")
        before = bidder.metrics()
        result = json.loads(drive("run", "--port", bidder.port, "--dmp-port", dmp_port,
                                  "--secret", harness.SECRET, "--batch", options.batch,
                                  "--push-all", int(arm != "a"), *driver_options(options)))
        time.sleep(1.5)  # counters are exported, and ledgers told, once a second
        result["grown"] = bidder.deltas(before)
        result["ledgers"] = ledgers(redis)
        result["bound"] = max([max(100, swap["planned_impressions"] // 100)
                               for swap in swaps(arm, options)] or [0])
        return result
    finally:
        if bidder:
            bidder.stop()
        if redis:
            redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


def figures(result):
    grown = result["grown"]
    spend = (result["paid_video"][0] * VIDEO_CPM + result["paid_display"] * DISPLAY_CPM) / 1000
    reach = sum(result["reach"][:3])
    shown = sum(result["impressions"][:3])
    pairs = result["pairs"]
    over = sum(pairs[CAP + 1:])
    return {
        "spend": spend, "impressions": shown, "uv": reach, "group": result["group"],
        "cpuv": spend / max(1, reach), "ta": sum(result["target_reach"][:3]),
        "cpta": spend / max(1, sum(result["target_reach"][:3])),
        "frequency": shown / max(1, reach), "over": 100 * over / max(1, sum(pairs[1:])),
        "returns": int(grown.get("jointcap_returns_total", 0)),
        "forced": int(grown.get("jointcap_forced_total", 0)),
        "swapped": int(grown.get("jointcap_swapped_total", 0)),
        "imbalance": max([abs(one - two) for one, two in result["ledgers"]] or [0]),
        "bound": result["bound"],
        "failures": result["failures"], "seconds": result["seconds"], "pairs": pairs,
        "requests": result["requests"], "dmp": {
            name.split('"')[1]: int(value) for name, value in grown.items()
            if name.startswith("jointcap_dmp_results_total")},
    }


# --- tables -------------------------------------------------------------------------------------

def change(value, base):
    return f"{100 * (value / base - 1):+6.1f}%" if base else "      -"


def print_table(rows):
    base = rows[0][2]
    print(f"\n{'arm':<31}{'impr.':>8}{'spend':>8}{'UV':>8}{'':>8}{'CPUV':>8}{'':>8}{'TA-UV':>8}"
          f"{'':>8}{'avg':>6}{'>cap':>7}{'returns':>9}{'forced':>8}{'swaps':>7}{'imbal.':>9}")
    for arm, text, row in rows:
        name = f"({LABEL.get(arm, arm)}) {text}"
        print(f"{name:<31}{row['impressions']:>8}{row['spend']:>8.0f}{row['uv']:>8}"
              f"{change(row['uv'], base['uv']):>8}{row['cpuv']:>8.4f}"
              f"{change(row['cpuv'], base['cpuv']):>8}{row['ta']:>8}"
              f"{change(row['ta'], base['ta']):>8}{row['frequency']:>6.2f}{row['over']:>6.1f}%"
              f"{row['returns']:>9}{row['forced']:>8}{row['swapped']:>7}"
              + (f"{row['imbalance']:>5}/{row['bound']}" if row["bound"] else f"{'-':>9}"))
    print("UV, TA-UV: persons reached (in their target audience), summed over the group's three "
          "brands;\npercentages: change against (a). avg: impressions per person and brand. >cap: "
          f"persons a brand reached\nmore than {CAP} times. returns, forced, swaps: of all deals, "
          "the other advertiser's included.\nimbal.: the largest difference between what two "
          "brands gave each other.")


def print_frequencies(rows):
    print(f"\npersons per brand by exposures   {'':<2}"
          + "".join(f"{n:>7}" for n in range(1, 10)) + f"{'10+':>7}")
    for arm, text, row in rows:
        name = f"({LABEL.get(arm, arm)}) {text}"
        print(f"{name:<35}" + "".join(f"{n:>7}" for n in row["pairs"][1:10])
              + f"{sum(row['pairs'][10:]):>7}")


def print_paper(rows):
    """Side by side with the white paper's three figures."""
    found = {arm: row for arm, _, row in rows}
    a, a2, d, f = found["a"], found["a2"], found["d"], found["f"]
    e = found["e"]
    print(f"\n{'':<52}{'white paper':>12}{'here':>9}{'against (a-prime)':>19}")
    print(f"{'reach by distribution among brands: UV, (d)':<52}{'+26%':>12}"
          f"{change(d['uv'], a['uv']):>9}{change(d['uv'], a2['uv']):>19}")
    print(f"{'cost of a unique person: CPUV, (d)':<52}{'-21%':>12}"
          f"{change(d['cpuv'], a['cpuv']):>9}{change(d['cpuv'], a2['cpuv']):>19}")
    print(f"{'reach in the target audience: TA-UV, (f)':<52}{'+29.98%':>12}"
          f"{change(f['ta'], a['ta']):>9}{change(f['ta'], a2['ta']):>19}")
    print(f"of the TA-UV, swaps with the other advertiser add (f against e): "
          f"{change(f['ta'], e['ta']).strip()}")


def print_assumptions(options):
    share = ", ".join(f"{name} {100 * options.share[name]:.0f}%" for name in GROUP)
    target = ", ".join(f"{name} {100 * options.target[name]:.0f}%" for name in ALL)
    print(f"""One week, compressed: each run is the whole week, caps of {CAP} per 7 days hold for all of it.
population   {options.persons} persons, seed {options.seed}; activity lognormal, sigma {options.sigma}
media        six video media of sizes 28 24 18 14 10 6%, and display; a person uses one of them and
             each of the others with probability {options.overlap} (--overlap)
visits       a person, a week: {options.video} to the group's video deals, {options.other} to the other advertiser's,
             {options.display} to display (means)
brands       a, b, c of one group own the video impressions by {share}; x is another advertiser's
audiences    exclusive: {target}; the rest is nobody's
buying       PDB at {VIDEO_CPM} CPM, push ratio {options.rho}; in (a) the medium pushes what was bought and no more:
             1 in {options.rho} of the same visits. Display at {DISPLAY_CPM} CPM for half of its visits.
caps         {CAP} a week: in (a) and (a') per brand and medium, from (b) on per brand over all media""")


def print_why(main, sweep, options):
    found = {arm: row for arm, _, row in main}
    a, a2, b, c, d, e, f = (found[arm] for arm in ("a", "a2", "b", "c", "d", "e", "f"))
    say = {"ret_uv": change(a2["uv"], a["uv"]), "ret_cpuv": change(a2["cpuv"], a["cpuv"]),
           "joint_cpuv": change(b["cpuv"], a2["cpuv"]), "new_uv": change(c["uv"], b["uv"]),
           "rot_uv": change(d["uv"], c["uv"]), "rot_cpuv": change(d["cpuv"], c["cpuv"]),
           "in_ta": change(e["ta"], d["ta"]), "in_uv": change(e["uv"], d["uv"]),
           "dmp_ta": change(f["ta"], e["ta"]), "dmp_uv": change(f["uv"], e["uv"])}
    say = {name: text.strip() for name, text in say.items()}
    print(f"""
Which step and which assumption drives what:
- Returns (a to a'): {say['ret_uv']} UV, {say['ret_cpuv']} CPUV. A return ratio of {options.rho} lets us choose among more visits
  for the impressions bought. The more the media overlap, the less caps per medium want to return, and
  what is not returned is bought.
- The joint cap (a' to b): {say['joint_cpuv']} CPUV. {a['over']:.0f}% of the persons a brand reached in (a) saw it more than
  {CAP} times, {b['over']:.0f}% in (b): what cannot be returned any more must be shown (forced). It saves money;
  reach is bound by who visits, which no cap changes.
- New reach (b to c): {say['new_uv']} UV. Display reaches few whom six video media do not: the more the media
  overlap and the more visits there are, the fewer are left.
- Rotation (c to d): {say['rot_uv']} UV, {say['rot_cpuv']} CPUV: a person at one brand's cap is another brand's first touch,
  and hardly anything has to be forced.
- Swaps in the group (d to e): {say['in_ta']} TA-UV, {say['in_uv']} UV; through the DMP (e to f): {say['dmp_ta']} TA-UV, {say['dmp_uv']} UV.
  They move impressions to the audiences they are for, away from reach outside them; audiences of
  {100 * sum(options.target.values()):.0f}% of all persons bound it, and so does what the other side has to give.
- How often people come decides most of it (the sweep over visits): with few visits a week nearly
  everybody can be reached once more for the same money, with many nearly everybody has been.
The white paper does not say how many visits, which overlap and which ratio its cases had. With other
ones (half the persons, the rest as above), change against (a):""")
    for label, rows in sweep:
        rows = {arm: row for arm, _, row in rows}
        base = rows["a"]
        for arm in ("a2", "d", "f"):
            if arm not in rows:
                continue
            row, label = rows[arm], label + " " * 14
            print(f"    {label[:14]}{'(' + LABEL.get(arm, arm) + ')':<6}UV "
                  f"{change(row['uv'], base['uv'])}   CPUV {change(row['cpuv'], base['cpuv'])}   "
                  f"TA-UV {change(row['ta'], base['ta'])}   over the cap {row['over']:.0f}% "
                  f"(a: {base['over']:.0f}%)")
            label = ""


# --- histograms ---------------------------------------------------------------------------------

COLOURS = ["#8c8c8c", "#c9a227", "#4c78a8", "#72b7b2", "#54a24b", "#b279a2", "#e45756"]


def round_step(top):
    """The smallest of 1, 2, 5, 10, 20 ... of which seven reach the top."""
    step = 1
    while step * 7 < top:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def draw(rows, path):
    """Grouped bars: persons and brands by number of exposures."""
    width, height, left, right, head, foot = 980, 460, 70, 20, 48, 96
    groups = [row["pairs"][1:10] + [sum(row["pairs"][10:])] for _, _, row in rows]
    most = max(max(group) for group in groups)
    step_y = round_step(most)
    top = max(1, -(-most // step_y)) * step_y
    base, tall, step = height - foot, height - foot - head, (width - left - right) / 10
    bar = step * 0.84 / len(rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="24" font-size="15">How often persons saw a brand in the week, '
             'with all ways to buy</text>',
             f'<text transform="translate(18 {base - tall / 2}) rotate(-90)" text-anchor="middle">'
             'persons, summed over brands a, b and c</text>',
             f'<text x="{(left + width - right) / 2}" y="{base + 38}" text-anchor="middle">'
             'exposures of one brand</text>']
    for value in range(0, top + 1, step_y):
        y = base - tall * value / top
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" '
                     f'stroke="{"#888" if value == 0 else "#ddd"}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for n in range(10):
        x = left + step * n
        label = "10+" if n == 9 else str(n + 1)
        parts.append(f'<text x="{x + step / 2:.1f}" y="{base + 18}" '
                     f'text-anchor="middle">{label}</text>')
        for g, group in enumerate(groups):
            high = tall * group[n] / top
            parts.append(f'<rect x="{x + step * 0.08 + bar * g:.1f}" y="{base - high:.1f}" '
                         f'width="{bar:.1f}" height="{high:.1f}" fill="{COLOURS[g]}"/>')
    x = left + step * CAP
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{head - 8}" y2="{base}" stroke="#444" '
                 'stroke-dasharray="4 3"/>'
                 f'<text x="{x + 6:.1f}" y="{head + 18}">above the cap of {CAP} &#8594;</text>')
    for g, (arm, text, _) in enumerate(rows):
        x, y = left + (g % 4) * 222, height - 32 + (g // 4) * 18
        parts.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{COLOURS[g]}"/>'
                     f'<text x="{x + 16}" y="{y}">({LABEL.get(arm, arm)}) {text}</text>')
    parts.append("</svg>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n")


def shares(text, names):
    parts = [float(part) for part in text.split(",")]
    if len(parts) != len(names):
        raise argparse.ArgumentTypeError(f"takes {len(names)} numbers")
    return dict(zip(names, parts))


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--overlap", type=float, default=0.4)
    parser.add_argument("--video", type=float, default=9)
    parser.add_argument("--other", type=float, default=3)
    parser.add_argument("--display", type=float, default=3)
    parser.add_argument("--rho", type=float, default=1.5)
    parser.add_argument("--sigma", type=float, default=0.8)
    parser.add_argument("--seconds", type=float, default=25,
                        help="the least time a week takes: leases renew by the real clock")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--share", type=lambda text: shares(text, GROUP), default="0.5,0.3,0.2")
    parser.add_argument("--target", type=lambda text: shares(text, ALL),
                        default="0.25,0.2,0.15,0.2")
    parser.add_argument("--sweep", default="0.1,0.7", help="further overlaps, or empty")
    parser.add_argument("--sweep-visits", default="4,18",
                        help="further means of visits to the group's deals, or empty")
    parser.add_argument("--plot", type=pathlib.Path, help="folder for histograms")
    return parser.parse_args()


def run_arms(arms, options):
    rows = []
    for arm, text in ARMS:
        if arm in arms:
            row = figures(run(arm, options))
            rows.append((arm, text, row))
            print(f"  overlap {options.overlap} visits {options.video} ({LABEL.get(arm, arm)}) {row['requests']} requests "
                  f"in {row['seconds']:.0f} s, {row['failures']} failures"
                  + (f", DMP {row['dmp']}" if row["dmp"] else ""), file=sys.stderr)
    return rows


def smaller(options, **changes):
    return argparse.Namespace(**{**vars(options), "persons": max(100, options.persons // 2),
                                 "seconds": options.seconds / 2, **changes})


def main():
    options = parse()
    begun = time.monotonic()
    print_assumptions(options)
    sys.stdout.flush()
    rows = run_arms([arm for arm, _ in ARMS], options)
    print_table(rows)
    print_frequencies(rows)
    print_paper(rows)
    sweep = []
    for text in filter(None, options.sweep.split(",")):
        sweep.append((f"overlap {text}",
                      run_arms(("a", "a2", "d", "f"), smaller(options, overlap=float(text)))))
    for text in filter(None, options.sweep_visits.split(",")):
        sweep.append((f"visits {text}",
                      run_arms(("a", "d", "f"), smaller(options, video=float(text)))))
    print_why(rows, sweep, options)
    if options.plot:
        draw(rows, options.plot / "frequency.svg")
        print(f"\nhistograms: {options.plot / 'frequency.svg'}")
    failures = sum(row["failures"] for _, _, row in rows)
    print(f"\n{time.monotonic() - begun:.0f} s; {failures} failed requests")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
