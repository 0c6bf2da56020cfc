#!/usr/bin/env python3
"""Makes the catalog and the bid requests of the benchmark; the same seed makes the same files.

  catalog_gen.py --lines 1000 catalog.json       a catalog of that many line items
  catalog_gen.py --requests 64 requests/         bid requests that meet it

Every catalog holds the same few line items that want nearly every request, each under caps of
every kind (calendar day, rolling, lifetime, interval, one cap across media) and budgets on line and
campaign, and two brands that take turns on a guaranteed deal; so a bid costs the same whatever else
the catalog holds. The rest are narrow: some regions, some media, one format, as in real ones.
"""
import argparse
import datetime
import json
import pathlib
import random

import protobuf

REGIONS = ["11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37",
           "41", "42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64",
           "65"]
CITIES = {"31": "Shanghai", "11": "Beijing", "44": "Guangzhou", "33": "Hangzhou", "51": "Chengdu"}
MEDIA = [f"app.medium{number:03}.example" for number in range(200)]
SIZES = [(300, 250), (320, 50), (728, 90), (640, 100)]
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def creatives():
    made = [{"id": f"video-{seconds}", "type": "video", "w": 1280, "h": 720, "duration": seconds,
             "bitrate_kbps": 1200, "mime": "video/mp4",
             "url": f"https://cdn.brand.example/video-{seconds}.mp4",
             "landing": "https://brand.example/spring"} for seconds in (15, 30)]
    made += [{"id": f"banner-{w}x{h}", "type": "banner", "w": w, "h": h,
              "image": f"https://cdn.brand.example/banner-{w}x{h}.png",
              "landing": "https://brand.example/spring"} for w, h in SIZES]
    return made


def caps():
    return [
        {"id": "joint", "max": 12, "window": {"calendar": "week"},
         "members": {"brands": ["biscuit", "chocolate"]}},
        {"id": "daily", "max": 6, "window": {"calendar": "day"}},
        {"id": "hourly", "max": 3, "window": {"rolling": "1h"}},
        {"id": "ever", "max": 30, "window": "lifetime"},
        {"id": "pause", "min_interval": "5s"},
    ]


def narrow_line(number, prng):
    is_video = prng.random() < 0.4
    w, h = prng.choice(SIZES)
    line = {
        # With this prefix no two of 100,000 ids, nor of their budgets, meet in their 32-bit hash: a
        # catalog refuses that.
        "id": f"af-{number}", "buying": "rtb",
        "bid_cpm": round(prng.uniform(5, 30), 2),
        "creatives": [f"video-{prng.choice((15, 30))}" if is_video else f"banner-{w}x{h}"],
        "frequency_caps": prng.sample(["daily", "hourly", "ever"], prng.randint(1, 2)),
        "budget": {"daily": prng.randint(10, 1000) * 10000, "pacing": "asap"},
        "targeting": {"geo": {"regions": prng.sample(REGIONS, prng.randint(1, 3))},
                      "media": {"allow": prng.sample(MEDIA, prng.randint(1, 5))}},
    }
    if prng.random() < 0.2:
        line["targeting"]["os"] = [prng.choice(["android", "ios"])]
    if prng.random() < 0.1:
        line["targeting"]["dayparts"] = [{"days": "mon-sun", "hours": "6-24"}]
    return line


def broad_lines():
    budget = {"daily": 1_000_000_000, "total": 100_000_000_000, "pacing": "asap"}
    yield {"id": "broad-video", "buying": "rtb", "bid_cpm": 45, "budget": budget,
           "creatives": ["video-15", "video-30"], "frequency_caps": ["daily", "ever", "pause"]}
    yield {"id": "broad-banner", "buying": "rtb", "bid_cpm": 40, "budget": budget,
           "creatives": [f"banner-{w}x{h}" for w, h in SIZES],
           "frequency_caps": ["daily", "hourly"]}
    yield {"id": "broad-both", "buying": "rtb", "bid_cpm": 38, "budget": budget,
           "creatives": ["video-15", *(f"banner-{w}x{h}" for w, h in SIZES)],
           "frequency_caps": ["hourly", "ever"]}


def catalog(line_count, seed, now):
    prng = random.Random(seed)
    start = (now - datetime.timedelta(days=7)).isoformat()
    end = (now + datetime.timedelta(days=60)).isoformat()
    money = {"daily": 10_000_000_000, "total": 1_000_000_000_000, "pacing": "asap"}
    deal_lines = [{"id": f"pdb-{brand}", "buying": "pdb", "deals": ["PDB-BENCH-1"],
                   "creatives": ["video-15"], "frequency_caps": ["daily"], "budget": money}
                  for brand in ("biscuit", "chocolate")]
    campaigns = [{"id": f"campaign-{brand}", "brand": brand, "start": start, "end": end,
                  "budget": money, "line_items": [line]}
                 for brand, line in zip(("biscuit", "chocolate"), deal_lines)]
    campaigns[0]["line_items"] += broad_lines()
    left = max(0, line_count - 5)
    per_campaign = 20
    for first in range(0, left, per_campaign):
        lines = [narrow_line(number, prng)
                 for number in range(first, min(first + per_campaign, left))]
        campaigns.append({"id": f"campaign-{first // per_campaign}", "brand": "soap",
                          "start": start, "end": end, "budget": money, "line_items": lines})
    return {
        "timezone": "Asia/Shanghai", "currency": "CNY", "currencies": {"USD": 7.1},
        "exchanges": [{"id": "bench", "tmax_ms": 100, "margin_ms": 5, "seat": "bench-seat"}],
        "advertisers": [
            {"id": "snacks", "domain": "snacks.example", "categories": ["IAB8"],
             "brands": [{"id": "biscuit", "frequency_caps": ["joint"]}, {"id": "chocolate"}]},
            {"id": "household", "domain": "household.example", "categories": ["IAB18"],
             "brands": [{"id": "soap"}]}],
        "frequency_caps": caps(),
        "deals": [{"id": "PDB-BENCH-1", "exchange": "bench", "buying": "pdb", "cpm": 50,
                   "owner": "biscuit", "push_ratio": 1.5, "impressions_per_day": 500_000_000,
                   "default_creative": "video-15"}],
        "rotations": [{"id": "turns", "deals": ["PDB-BENCH-1"],
                       "brands": [{"brand": "biscuit", "share": 50},
                                  {"brand": "chocolate", "share": 50}]}],
        "campaigns": campaigns, "creatives": creatives(),
    }


def hexes(prng, count):
    return "".join(prng.choice("0123456789abcdef") for _ in range(count))


def impression(prng, has_deal):
    common = {"id": "1", "bidfloor": round(prng.uniform(0.5, 8), 2), "bidfloorcur": "CNY",
              "secure": 1, "tagid": "".join(prng.choice(ALPHABET) for _ in range(16))}
    if has_deal or prng.random() < 0.4:
        video = {"mimes": ["video/mp4", "video/webm"], "linearity": 1, "minduration": 5,
                 "maxduration": 30, "protocols": [2, 3, 5, 6, 7, 8], "w": 1280, "h": 720,
                 "startdelay": 0, "plcmt": 1, "playbackmethod": [1, 3], "delivery": [2], "pos": 1,
                 "api": [1, 2, 7], "battr": [13, 14], "minbitrate": 300, "maxbitrate": 4000}
        if has_deal:
            common["pmp"] = {"private_auction": 1, "deals": [
                {"id": "PDB-BENCH-1", "bidfloor": 25.0, "bidfloorcur": "CNY", "at": 3, "guar": 1},
                {"id": f"PD-{hexes(prng, 6)}", "bidfloor": 18.5, "bidfloorcur": "CNY", "at": 1}]}
        return {**common, "video": video}
    w, h = prng.choice(SIZES)
    return {**common, "banner": {"w": w, "h": h, "format": [{"w": w, "h": h}], "pos": 1,
                                 "btype": [4], "battr": [1, 3, 6, 9], "api": [3, 5, 6, 7],
                                 "mimes": ["image/png", "image/jpeg", "text/html"]}}


def request(prng, has_deal):
    medium, region = prng.choice(MEDIA), prng.choice(REGIONS)
    is_ios = prng.random() < 0.4
    agent = ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
             "like Gecko) Mobile/15E148" if is_ios else
             "Mozilla/5.0 (Linux; Android 13; PHONE Build/TP1A.220624.014) AppleWebKit/537.36 "
             "(KHTML, like Gecko) Version/4.0 Chrome/110.0.5481.153 Mobile Safari/537.36")
    device_id = hexes(prng, 32)
    made = {
        "id": hexes(prng, 32), "at": 1, "cur": ["CNY"], "tmax": 100,
        "imp": [impression(prng, has_deal)],
        "app": {"id": hexes(prng, 12), "name": f"Medium {medium[10:13]}", "bundle": medium,
                "domain": medium[4:], "storeurl": f"https://apps.example/{medium}",
                "cat": ["IAB1", "IAB1-6"], "ver": "12.3.1", "privacypolicy": 1,
                "publisher": {"id": medium[4:13], "name": f"Publisher of {medium[4:13]}",
                              "cat": ["IAB1"], "domain": medium[4:]},
                "content": {"id": hexes(prng, 10), "episode": prng.randint(1, 40),
                            "title": "An episode", "series": "A series", "season": "2",
                            "cat": ["IAB1-7"], "keywords": "drama,family,evening", "len": 2700,
                            "language": "zh"}},
        "device": {"dnt": 0, "lmt": 0, "ua": agent, "ip": "123.145.167.10",
                   "geo": {"lat": 31.2304, "lon": 121.4737, "type": 2, "country": "CHN",
                           "region": region, "city": CITIES.get(region, "Elsewhere"),
                           "zip": "200000"},
                   "ifa": f"{device_id[:8]}-{device_id[8:12]}-{device_id[12:16]}-"
                          f"{device_id[16:20]}-{device_id[20:]}",
                   "carrier": "A carrier", "language": "zh",
                   "make": "apple" if is_ios else "vivo", "model": "PHONE",
                   "os": "iOS" if is_ios else "Android", "osv": "17.4" if is_ios else "13",
                   "js": 1, "connectiontype": prng.choice([2, 6, 7]), "devicetype": 4,
                   "w": 1080, "h": 2400, "ppi": 440, "pxratio": 3.0},
        "user": {"id": hexes(prng, 24), "yob": 1984, "gender": "F",
                 "data": [{"id": "6", "name": "Data provider", "segment": [
                     {"id": hexes(prng, 10), "name": "auto intenders"},
                     {"id": hexes(prng, 10), "name": "auto enthusiasts"},
                     {"id": hexes(prng, 8), "name": "age", "value": "30-40"}]}]},
        "regs": {"coppa": 0, "ext": {"gdpr": 0}},
        "bcat": ["IAB25", "IAB26", "IAB7-39"],
        "badv": ["rival.example", "other-rival.example", "blocked.example"],
        "source": {"fd": 1, "tid": hexes(prng, 24), "pchain": "chain"},
    }
    if prng.random() < 0.25:  # a second id: the bidder reads and reserves both records
        made["device"]["didmd5"] = hexes(prng, 32)
    return made


def write_requests(folder, count, seed, as_protobuf=False):
    """A quarter of them offers the guaranteed deal. The protobuf form is the twin of the JSON."""
    prng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        made = request(prng, number % 4 == 0)
        path = folder / f"request-{number:03}.json"
        if as_protobuf:
            path.with_suffix(".pb").write_bytes(protobuf.request(made))
        else:
            path.write_text(json.dumps(made, separators=(",", ":")))


def write_catalog(path, line_count, seed=1):
    today = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).date()
    path.write_text(json.dumps(catalog(line_count, seed, today), indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("--lines", type=int, help="line items; at least 5 are made")
    parser.add_argument("--requests", type=int, help="make bid requests instead, in a folder")
    parser.add_argument("--protobuf", action="store_true", help="requests as *.pb")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.requests:
        write_requests(args.path, args.requests, args.seed, args.protobuf)
    else:
        write_catalog(args.path, args.lines or 100, args.seed)


if __name__ == "__main__":
    main()
