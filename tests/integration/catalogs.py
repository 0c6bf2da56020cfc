"""A small catalog for tests, and the requests that go with it. Everything is a plain dict, so that a
test changes just what it is about."""
import copy
import itertools
import json

_serial = itertools.count(1)


def catalog(**changes):
    """One exchange, one PDB deal with return, one PD deal, an RTB banner, a video, a native line."""
    value = {
        "timezone": "Asia/Shanghai", "currency": "CNY",
        "currencies": {"USD": 7},
        "exchanges": [
            {"id": "x", "no_bid": "nbr", "seat": "seat-1", "tmax_ms": 1000, "margin_ms": 5,
             "ids": ["device.ifa", "device.didmd5", "user.buyeruid"]},
            {"id": "x204", "no_bid": "204", "seat": "seat-1", "tmax_ms": 1000,
             "ids": ["device.ifa"]}],
        "advertisers": [
            {"id": "acme", "domain": "acme.example", "categories": ["IAB8"],
             "brands": [{"id": "red", "audience": "ta-red"}, {"id": "blue", "audience": "ta-blue"}]},
            {"id": "globex", "domain": "globex.example", "categories": ["IAB2"],
             "brands": [{"id": "green"}]}],
        "audiences": [{"id": "ta-red", "any": ["seg-red"]}, {"id": "ta-blue", "any": ["seg-blue"]}],
        "frequency_caps": [{"id": "red-day", "max": 3, "window": {"calendar": "day"}},
                           {"id": "joint", "max": 5, "window": {"rolling": "7d"}}],
        "deals": [{"id": "PDB-1", "exchange": "x", "buying": "pdb", "owner": "red", "cpm": 25,
                   "push_ratio": 1.5, "impressions_per_day": 1000, "default_creative": "red-video"},
                  {"id": "PD-1", "exchange": "x", "buying": "pd", "owner": "red", "cpm": 18}],
        "campaigns": [
            {"id": "red-c", "brand": "red", "start": "2026-01-01", "end": "2035-12-31",
             "frequency_caps": ["red-day", "joint"],
             "budget": {"total": 1000000, "daily": 100000, "pacing": "asap"},
             "line_items": [
                 {"id": "red-pdb", "buying": "pdb", "deals": ["PDB-1"], "creatives": ["red-video"]},
                 {"id": "red-rtb", "buying": "rtb", "bid_cpm": 10, "creatives": ["red-banner"]}]},
            {"id": "green-c", "brand": "green", "start": "2026-01-01", "end": "2035-12-31",
             "budget": {"total": 1000000, "pacing": "asap"},
             "line_items": [
                 {"id": "green-native", "buying": "rtb", "bid_cpm": 9,
                  "creatives": ["green-native"]}]}],
        "creatives": [
            {"id": "red-video", "type": "video", "duration": 15, "w": 640, "h": 480,
             "mime": "video/mp4", "url": "https://cdn.example/red.mp4",
             "landing": "https://acme.example/"},
            {"id": "red-banner", "type": "banner", "w": 300, "h": 250,
             "image": "https://cdn.example/red.png", "landing": "https://acme.example/?a=1&b=2"},
            {"id": "green-native", "type": "native", "landing": "https://globex.example/",
             "assets": [{"kind": "title", "text": "Green & good"},
                        {"kind": "image", "url": "https://cdn.example/main.jpg", "w": 1200,
                         "h": 627},
                        {"kind": "sponsored", "text": "Globex"}]}],
    }
    value = copy.deepcopy(value)
    value.update(changes)
    return value


def line(value, line_id):
    for campaign in value["campaigns"]:
        for item in campaign["line_items"]:
            if item["id"] == line_id:
                return item
    raise KeyError(line_id)


def request(person=None, imps=None, **changes):
    """person: any text; becomes the device's advertising id."""
    number = next(_serial)
    value = {
        "id": f"req-{number}", "at": 1, "cur": ["CNY"], "tmax": 900,
        "imp": imps or [banner()],
        "site": {"id": "s1", "domain": "media.example", "publisher": {"id": "p1"}},
        "device": {"ua": "test", "ip": "203.0.113.7", "devicetype": 2, "os": "Windows",
                   "geo": {"country": "CHN", "city": "Shanghai"}},
    }
    if person:
        value["device"]["ifa"] = person
    value.update(changes)
    return copy.deepcopy(value)


def banner(imp_id="1", w=300, h=250, floor=1.0, **changes):
    return {"id": imp_id, "bidfloor": floor, "bidfloorcur": "CNY", "secure": 1,
            "banner": {"w": w, "h": h}, **changes}


def video(imp_id="1", floor=1.0, deals=None, private=1, **changes):
    value = {"id": imp_id, "bidfloor": floor, "bidfloorcur": "CNY",
             "video": {"mimes": ["video/mp4"], "minduration": 5, "maxduration": 30,
                       "protocols": [2, 3, 7], "w": 640, "h": 480, "linearity": 1}}
    if deals is not None:
        value["pmp"] = {"private_auction": private, "deals": deals}
    value.update(changes)
    return value


def pdb_deal(deal_id="PDB-1", floor=25.0):
    return {"id": deal_id, "bidfloor": floor, "bidfloorcur": "CNY", "at": 3, "guar": 1}


def native(imp_id="1", floor=1.0, required_video=False):
    assets = [{"id": 1, "required": 1, "title": {"len": 30}},
              {"id": 2, "required": 1, "img": {"type": 3, "wmin": 600, "hmin": 300}},
              {"id": 3, "data": {"type": 1, "len": 20}}]
    if required_video:
        assets.append({"id": 4, "required": 1, "video": {"mimes": ["video/mp4"]}})
    return {"id": imp_id, "bidfloor": floor, "bidfloorcur": "CNY",
            "native": {"ver": "1.2", "request": json.dumps({"ver": "1.2", "assets": assets})}}
