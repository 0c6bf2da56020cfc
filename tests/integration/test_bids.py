"""Bids, no-bids and their reasons, through the real bidder and a real Redis."""
import http.client
import json
import pathlib
import re
import signal
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree

import catalogs
import harness

SHARED = harness.ROOT.parent / "shared/data/openrtb"
OWN = harness.ROOT / "tests/data/openrtb"


def as_float(value, default=0.0):
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def check_bid_response(test, request, response, rates):
    """Everything an exchange would check of a 200 answer to a JSON request."""
    test.assertEqual(response["id"], str(request["id"]))
    imps = {str(imp["id"]): imp for imp in request["imp"]}
    currency = response.get("cur", "USD")
    if request.get("cur"):
        test.assertIn(currency, request["cur"])
    blocked = [domain.lower() for domain in request.get("badv") or []]
    bids = [bid for seat in response["seatbid"] for bid in seat["bid"]]
    test.assertTrue(bids)
    for bid in bids:
        imp = imps[bid["impid"]]
        deals = {deal["id"]: deal for deal in (imp.get("pmp") or {}).get("deals") or []}
        if as_float((imp.get("pmp") or {}).get("private_auction")) == 1:
            test.assertIn(bid.get("dealid"), deals)
        floor_of = deals[bid["dealid"]] if bid.get("dealid") else imp
        floor = as_float(floor_of.get("bidfloor")) * rates[floor_of.get("bidfloorcur") or "USD"]
        test.assertGreaterEqual(bid["price"] * rates[currency], floor - 1e-6)
        for domain in bid["adomain"]:
            for block in blocked:
                test.assertFalse(domain == block or domain.endswith("." + block))
        if as_float(request.get("cattax"), 1) == bid.get("cattax", 1):
            for category in bid.get("cat", []):
                for block in request.get("bcat") or []:
                    test.assertFalse(category == block or category.startswith(block + "-"))
        test.assertIn({1: "banner", 2: "video", 3: "audio", 4: "native"}[bid["mtype"]], imp)
        check_markup(test, bid)


def check_markup(test, bid):
    if bid["mtype"] in (2, 3):
        vast = xml.etree.ElementTree.fromstring(bid["adm"].encode())
        test.assertEqual(vast.tag, "VAST")
        test.assertTrue(vast.find("./Ad/InLine/Impression").text.startswith("http"))
        test.assertTrue(vast.find(".//MediaFile").text.startswith("http"))
    elif bid["mtype"] == 4:
        native = json.loads(bid["adm"])
        test.assertTrue(native.get("native", native)["assets"])
    else:
        test.assertRegex(bid["adm"], "<")


class WithX(harness.Case):
    def setUp(self):
        super().setUp()
        self.catalog = catalogs.catalog()

    def start(self, **options):
        path = pathlib.Path(self.folder) / "catalog.json"
        path.write_text(json.dumps(self.catalog))
        return self.jointcap(catalog=path, **{"workers": 1, "redis_timeout": "200ms", **options})

    def counted(self, jointcap, before):
        """An answer is on its way before it is counted; this count comes last."""
        harness.wait_until(lambda: jointcap.delta(before, "jointcap_bid_requests_total") >= 1,
                           "the request's count")

    def reason(self, jointcap, request, exchange="x"):
        """The one reason a request was not bid on, by the metrics."""
        before = jointcap.metrics()
        status, answer = jointcap.bid(exchange, request)
        self.counted(jointcap, before)
        grown = {name: growth for name, growth in jointcap.deltas(before).items()
                 if name.startswith("jointcap_no_bids_total")}
        if status == 200 and answer.get("seatbid"):
            self.assertEqual(grown, {})
            return "bid"
        self.assertEqual(list(grown.values()), [1], grown)
        return re.search(r'reason="([a-z_]+)"', next(iter(grown)))[1]

    def notify(self, jointcap, url, price=10):
        path = url.split("8080", 1)[1] if "8080" in url else url
        path = re.sub(r"\$\{AUCTION_PRICE\}", str(price), path)
        status, _, _ = jointcap.get(path)
        return status


class Corpora(harness.Case):
    """Every request anybody gave us is answered, and every bid is valid."""

    def answer_all(self, folder):
        catalog = json.loads((harness.ROOT / "deploy/catalog.json").read_text())
        for campaign in catalog["campaigns"]:
            for holder in [campaign, *campaign["line_items"]]:
                holder.pop("budget", None)  # the throttle would leave most out
            for item in campaign["line_items"]:
                if item["buying"] == "rtb":  # reach further than the sample wants to
                    item.pop("targeting", None)
                    item.pop("new_reach_only", None)
                    item["bid_cpm"] = 500
        path = pathlib.Path(self.folder) / "wide.json"
        path.write_text(json.dumps(catalog))
        jointcap = self.jointcap(catalog=path, redis_timeout="500ms")
        rates = {"CNY": 1.0, "USD": 7.1, "EUR": 7.8}
        rates.update({code: float(rate) for code, rate in catalog.get("currencies", {}).items()})
        statuses = {200: 0, 204: 0, 400: 0}
        exchanges = [exchange["id"] for exchange in catalog["exchanges"]]
        for file in sorted(folder.rglob("*.json")):
            body = file.read_bytes()
            for exchange in (exchanges[0], exchanges[-1]):
                status, _, answer = jointcap.post(f"/openrtb2/{exchange}", body)
                with self.subTest(file=file.name, exchange=exchange):
                    self.assertIn(status, statuses)
                    statuses[status] += 1
                    if file.name in ("drift.json", "duplicates.json"):
                        continue  # what they mean is the decoder's to say: its own tests do
                    try:
                        request = json.loads(body)
                        imps = [imp for imp in request["imp"] if imp["id"]]
                        valid = bool(request["id"]) and bool(imps)
                    except (ValueError, KeyError, TypeError):
                        valid = False
                    if not valid:
                        self.assertEqual(status, 400)
                    elif status == 200 and json.loads(answer).get("seatbid"):
                        check_bid_response(self, request, json.loads(answer), rates)
        return statuses

    def test_own_fixtures(self):
        statuses = self.answer_all(OWN)
        self.assertGreater(statuses[200], 0)
        print(f" {statuses} ", end="")

    @unittest.skipUnless(SHARED.is_dir(), "the public corpora are not beside the project")
    def test_public_corpora(self):
        statuses = self.answer_all(SHARED)
        self.assertGreater(statuses[200], 20)
        print(f" {statuses} ", end="")


class Bids(WithX):
    def test_banner_video_native_and_deal(self):
        jointcap = self.start()
        status, answer = jointcap.bid("x", catalogs.request("p1"))
        self.assertEqual(status, 200)
        bid = answer["seatbid"][0]["bid"][0]
        self.assertEqual((bid["price"], bid["crid"], bid["mtype"], bid["w"], bid["h"]),
                         (10, "red-banner", 1, 300, 250))
        self.assertIn("https://cdn.example/red.png", bid["adm"])
        status, answer = jointcap.bid("x", catalogs.request("p2", [catalogs.native()]))
        self.assertEqual(json.loads(answer["seatbid"][0]["bid"][0]["adm"])["assets"][0]["id"], 1)
        imp = catalogs.video(deals=[catalogs.pdb_deal()])
        status, answer = jointcap.bid("x", catalogs.request("p3", [imp]))
        bid = answer["seatbid"][0]["bid"][0]
        self.assertEqual((bid["dealid"], bid["price"], bid["dur"]), ("PDB-1", 25, 15))

    def test_prices_in_fen(self):
        self.catalog["exchanges"].append({"id": "fen", "price_unit": "fen", "no_bid": "nbr",
                                          "tmax_ms": 1000, "ids": ["device.ifa"]})
        self.catalog["deals"].append({"id": "PDB-F", "exchange": "fen", "buying": "pdb",
                                      "owner": "red", "cpm": 25})
        catalogs.line(self.catalog, "red-pdb")["deals"].append("PDB-F")
        jointcap = self.start()

        def bid(name, imp):
            _, answer = jointcap.bid("fen", catalogs.request(name, [imp]))
            return [bid["price"] for seat in answer.get("seatbid", []) for bid in seat["bid"]]

        self.assertEqual(bid("p1", catalogs.banner(bidfloor=1000, bidfloorcur="CNY")), [1000])
        self.assertEqual(bid("p2", catalogs.banner(bidfloor=1000.01, bidfloorcur="CNY")), [])
        self.assertEqual(bid("p3", catalogs.banner(bidfloor=100, bidfloorcur="USD")), [1000])
        self.assertEqual(bid("p4", catalogs.banner(bidfloor=143, bidfloorcur="USD")), [])
        for at, floor, price in ((3, 2400, 2400), (1, 2400, 2500), (3, 2500, 2500), (1, 0, 2500)):
            deal = {**catalogs.pdb_deal("PDB-F", floor), "at": at}
            self.assertEqual(bid(f"d{at}-{floor}", catalogs.video(deals=[deal])), [price])

    def test_multi_imp_gets_a_bid_each_and_shares_the_caps(self):
        self.catalog["frequency_caps"][0]["max"] = 2
        jointcap = self.start()
        request = catalogs.request("p1", [catalogs.banner(str(i)) for i in range(4)])
        status, answer = jointcap.bid("x", request)
        self.assertEqual([bid["impid"] for bid in answer["seatbid"][0]["bid"]], ["0", "1"])

    def test_test_requests_are_answered_and_count_nothing(self):
        jointcap = self.start()
        for _ in range(10):
            status, answer = jointcap.bid("x", catalogs.request("p1", test=1))
            self.assertEqual(status, 200)
            bid = answer["seatbid"][0]["bid"][0]
            self.notify(jointcap, bid["burl"])
        self.assertEqual(self.reason(jointcap, catalogs.request("p1")), "bid")
        self.assertEqual(jointcap.metrics().get(
            'jointcap_budget_events_total{event="settled"}', 0), 0)

    def test_no_raw_id_reaches_redis_or_the_logs(self):
        jointcap = self.start(event_log=self.folder, log_level="debug")
        person = "Raw-Device-Id-4711"
        jointcap.bid("x", catalogs.request(person))
        dump = "".join(str(self.redis().command("DUMP", key.encode("latin-1")))
                       for key in self.redis().command("KEYS", "*"))
        keys = "".join(self.redis().command("KEYS", "*"))
        logs = "".join(path.read_bytes().decode("latin-1")
                       for path in pathlib.Path(self.folder).rglob("*.log"))
        for secret in (person, person.lower(), "203.0.113.7"):
            for place in (dump, keys, logs):
                self.assertNotIn(secret, place)


class Reasons(WithX):
    def test_each_reason(self):
        value = self.catalog
        catalogs.line(value, "red-rtb")["targeting"] = {
            "geo": {"cities": ["Shanghai"]}, "devices": ["pc"]}
        value["campaigns"][1]["line_items"].append(
            {"id": "green-young", "buying": "rtb", "bid_cpm": 9, "creatives": ["green-tower"],
             "targeting": {"audiences": {"any": ["ta-red"]}}})
        value["campaigns"][1]["line_items"].append(
            {"id": "green-new", "buying": "rtb", "bid_cpm": 9, "creatives": ["green-square"],
             "new_reach_only": True, "frequency_caps": ["green-life"]})
        value["campaigns"].append(
            {"id": "green-poor", "brand": "green", "start": "2026-01-01", "end": "2035-12-31",
             "budget": {"total": 1, "unit": "impressions", "pacing": "asap"},
             "line_items": [{"id": "green-once", "buying": "rtb", "bid_cpm": 15,
                             "creatives": ["green-wide"]}]})
        value["frequency_caps"].append({"id": "green-life", "max": 2, "window": "lifetime"})
        for name, (w, h) in {"green-tower": (160, 600), "green-square": (250, 250),
                             "green-wide": (728, 90)}.items():
            value["creatives"].append(
                {"id": name, "type": "banner", "w": w, "h": h, "landing": "https://globex.example/",
                 "image": "https://cdn.example/green.png", "attr": [1]})
        value["creatives"].append(
            {"id": "plain-http", "type": "banner", "w": 88, "h": 31, "image": "http://cdn.example/p",
             "landing": "https://globex.example/"})
        value["campaigns"][1]["line_items"].append(
            {"id": "green-http", "buying": "rtb", "bid_cpm": 9, "creatives": ["plain-http"]})
        jointcap = self.start()
        request, banner = catalogs.request, catalogs.banner
        cases = {
            "no_match": request("a", [banner(w=1, h=1)]),
            "seat": request("a", wseat=["someone"]),
            "advertiser_blocked": request("a", badv=["acme.example"]),
            "category_blocked": request("a", bcat=["IAB8"]),
            "attribute_blocked": request("a", [{**banner(w=160, h=600),
                                                "banner": {"w": 160, "h": 600, "battr": [1]}}]),
            "not_secure": request("a", [banner(w=88, h=31, secure=1)]),
            "currency": request("a", cur=["JPY"]),
            "below_floor": request("a", [banner(floor=10.01)]),
            "no_id": request(None),
            "audience": request("a", [banner(w=160, h=600)]),
            "no_time": request("a", tmax=1),
        }
        for reason, body in cases.items():
            with self.subTest(reason=reason):
                self.assertEqual(self.reason(jointcap, body), reason)
        self.assertEqual(self.reason(jointcap, request("n", [banner(w=250, h=250)])), "bid")
        self.assertEqual(self.reason(jointcap, request("n", [banner(w=250, h=250)])),
                         "already_reached")
        self.assertEqual(self.reason(jointcap, request("m", [banner(w=728, h=90)])), "bid")
        # In flight the one impression may still come back: nothing to lease rather than spent.
        self.assertIn(self.reason(jointcap, request("m", [banner(w=728, h=90)])),
                      ("budget_spent", "budget_no_lease"))

    def test_no_bid_forms(self):
        jointcap = self.start()
        nothing = catalogs.request("a", [catalogs.banner(w=1, h=1)])
        status, answer = jointcap.bid("x", nothing)
        self.assertEqual((status, answer), (200, {"id": nothing["id"], "nbr": 0}))
        self.assertEqual(jointcap.bid("x204", nothing), (204, None))
        self.assertEqual(jointcap.bid("nobody", nothing)[0], 404)

    def test_explain_names_the_cap_its_count_and_window(self):
        jointcap = self.start()
        request = catalogs.request("p1")
        for _ in range(3):
            self.assertEqual(self.reason(jointcap, request), "bid")
        status, _, text = jointcap.admin("POST", "/explain?exchange=x", json.dumps(request))
        self.assertEqual(status, 200)
        self.assertRegex(text.decode(), r"red-rtb +no +at_cap: cap red-day: 3 of 3 exposures in "
                                        r"this calendar day")
        self.assertRegex(text.decode(), r"red-pdb +no +")
        self.assertEqual(jointcap.admin("POST", "/explain?exchange=x", "{")[0], 400)
        self.assertEqual(jointcap.admin("POST", "/explain?exchange=y", "{}")[0], 400)


class Caps(WithX):
    def test_cap_reached_after_impressions_across_workers_and_media(self):
        jointcap = self.start(workers=3)
        answers = []
        for i in range(8):  # a new connection each: they spread over the workers
            imps = [catalogs.banner()] if i % 2 else [catalogs.video(deals=[catalogs.pdb_deal()])]
            before = jointcap.metrics()
            status, answer = jointcap.bid("x", catalogs.request("same", imps))
            forced = jointcap.delta(before, "jointcap_forced_total")
            if answer and answer.get("seatbid") and not forced:
                answers.append(answer["seatbid"][0]["bid"][0])
        self.assertEqual(len(answers), 3)

    def test_a_lost_bid_gives_its_place_back_and_a_confirmed_one_does_not(self):
        self.catalog["frequency_caps"][0]["max"] = 1
        jointcap = self.start()
        for _ in range(3):
            status, answer = jointcap.bid("x", catalogs.request("p"))
            bid = answer["seatbid"][0]["bid"][0]
            self.assertEqual(self.reason(jointcap, catalogs.request("p")), "at_cap")
            self.assertIn(self.notify(jointcap, bid["lurl"]), (200, 204))
            harness.wait_until(lambda: self.reason_is_open(jointcap), "the reservation's release")
        status, answer = jointcap.bid("x", catalogs.request("q"))
        bid = answer["seatbid"][0]["bid"][0]
        for _ in range(3):
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        self.assertIn(self.notify(jointcap, bid["lurl"]), (200, 204))
        time.sleep(0.3)
        self.assertEqual(self.reason(jointcap, catalogs.request("q")), "at_cap")

    def reason_is_open(self, jointcap):
        text = jointcap.admin("POST", "/explain?exchange=x",
                              json.dumps(catalogs.request("p")))[2].decode()
        return re.search(r"red-rtb +would", text)

    def test_reservations_expire(self):
        self.catalog["frequency_caps"][0]["max"] = 1
        jointcap = self.start(reserve_seconds=1)
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "bid")
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "at_cap")
        harness.wait_until(lambda: self.reason_is_open(jointcap), "the reservation's expiry")
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "bid")

    def test_persons_are_told_apart_and_raw_meets_md5(self):
        self.catalog["frequency_caps"][0]["max"] = 1
        jointcap = self.start()
        self.assertEqual(self.reason(jointcap, catalogs.request("one")), "bid")
        self.assertEqual(self.reason(jointcap, catalogs.request("two")), "bid")
        self.assertEqual(self.reason(jointcap, catalogs.request("ONE")), "at_cap")


class MustFill(WithX):
    def push(self, jointcap, person, **changes):
        before = jointcap.metrics()
        status, answer = jointcap.bid(
            "x", catalogs.request(person, [catalogs.video(deals=[catalogs.pdb_deal()])], **changes))
        self.counted(jointcap, before)
        seatbid = answer.get("seatbid")
        return (seatbid[0]["bid"][0]["crid"] if seatbid else None,
                jointcap.delta(before, "jointcap_forced_total"),
                jointcap.delta(before, "jointcap_returns_total"))

    def test_cpd_is_filled_for_anybody_anywhere(self):
        deal = self.catalog["deals"][0]
        deal.update({"buying": "cpd", "day_price": 80000})
        for field in ("cpm", "push_ratio", "impressions_per_day"):
            deal.pop(field)
        line = catalogs.line(self.catalog, "red-pdb")
        line["buying"] = "cpd"
        line["targeting"] = {"geo": {"cities": ["Shanghai"]}}
        self.catalog["frequency_caps"][0]["max"] = 1
        jointcap = self.start()
        self.assertEqual(self.push(jointcap, "p"), ("red-video", 0, 0))
        self.assertEqual(self.push(jointcap, "p"), ("red-video", 1, 0))
        self.assertEqual(self.push(jointcap, None), ("red-video", 1, 0))
        elsewhere = {"devicetype": 2, "geo": {"country": "CHN", "city": "Beijing"}, "ifa": "q"}
        self.assertEqual(self.push(jointcap, None, device=elsewhere), ("red-video", 1, 0))

    def test_a_deal_named_twice_is_one_push(self):
        jointcap = self.start()
        before = jointcap.metrics()
        jointcap.bid("x", catalogs.request("p", [catalogs.video(deals=[catalogs.pdb_deal()] * 9)]))
        self.assertEqual(jointcap.delta(before, "jointcap_pushes_total"), 1)

    def test_pdb_is_returned_within_the_allowance_then_filled(self):
        self.catalog["frequency_caps"][0]["max"] = 1
        self.catalog["deals"][0].pop("impressions_per_day")  # nothing guaranteed to protect
        jointcap = self.start()
        self.assertEqual(self.push(jointcap, "p"), ("red-video", 0, 0))
        answers = []

        def pushed_once_more():
            answers.append(self.push(jointcap, "p"))
            return sum(returns for _, _, returns in answers) > 0

        harness.wait_until(pushed_once_more, "the first return")
        for _ in range(10):  # a test takes nothing from the allowance
            creative, _, returns = self.push(jointcap, "p", test=1)
            self.assertEqual((creative, returns), ("red-video", 0))
        while len(answers) < 200 or answers[-1][2]:
            answers.append(self.push(jointcap, "p"))
        for creative, forced, returns in answers:  # each push is one or the other
            self.assertIn((creative, forced, returns), (("red-video", 1, 0), (None, 0, 1)))
        # A third of the pushes, and the slack of the day (20 at most for so few pushes).
        returned = sum(returns for _, _, returns in answers)
        self.assertLessEqual(returned, (len(answers) + 1) / 3 + 20)


class Money(WithX):
    def test_a_goal_bids_what_a_click_is_worth(self):
        text, model = pathlib.Path(self.folder) / "weights.txt", f"{self.folder}/model"
        text.write_text("click\tbias\t-4\nclick\tos=windows\t-0.59511985\n")
        made = subprocess.run([str(harness.JOINTCAPCTL), "model", str(text), "--out", model],
                              capture_output=True, text=True, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        item = catalogs.line(self.catalog, "red-rtb")
        item["goal"] = {"cpc": 2}
        item["bid_cpm"] = 50
        jointcap = self.start(model=model)
        status, answer = jointcap.bid("x", catalogs.request("p"))
        # 1 / (1 + e^4.59511985) = 1%: 2 a click are 20 a thousand impressions.
        self.assertAlmostEqual(answer["seatbid"][0]["bid"][0]["price"], 20, places=3)
        status, answer = jointcap.bid("x", catalogs.request("q", [catalogs.banner(floor=20.01)]))
        self.assertNotIn("seatbid", answer)


    def test_shading_lowers_a_price_that_keeps_winning_first_price_auctions(self):
        catalogs.line(self.catalog, "red-rtb")["shading"] = True
        self.catalog["frequency_caps"] = [{"id": "red-day", "max": 10000,
                                           "window": {"calendar": "day"}}]
        self.catalog["campaigns"][0]["frequency_caps"] = ["red-day"]
        jointcap = self.start()
        prices = []
        for i in range(40):
            bid = jointcap.bid("x", catalogs.request(f"p{i}"))[1]["seatbid"][0]["bid"][0]
            prices.append(bid["price"])
            self.notify(jointcap, bid["nurl"])
        self.assertEqual(prices[0], 10)
        self.assertAlmostEqual(prices[-1], 10 * (1 - 39 * 0.001), places=6)
        second = jointcap.bid("x", catalogs.request("s", at=2))[1]["seatbid"][0]["bid"][0]
        self.assertEqual(second["price"], 10)
        outbid = bid["lurl"].replace("${AUCTION_LOSS}", "102")
        self.notify(jointcap, outbid)
        bid = jointcap.bid("x", catalogs.request("t"))[1]["seatbid"][0]["bid"][0]
        self.assertGreater(bid["price"], prices[-1])


class Store(WithX):
    def test_redis_stopped_and_back(self):
        jointcap = self.start()
        self.assertEqual(self.reason(jointcap, catalogs.request("p1")), "bid")
        first = self.redis()
        first.stop()
        reasons = {self.reason(jointcap, catalogs.request(f"q{i}")) for i in range(20)}
        self.assertLessEqual(reasons, {"store_down", "store_late"})
        # A guaranteed deal is filled with the default creative, and says so.
        before = jointcap.metrics()
        status, answer = jointcap.bid(
            "x", catalogs.request("p2", [catalogs.video(deals=[catalogs.pdb_deal()])]))
        self.assertEqual(answer["seatbid"][0]["bid"][0]["crid"], "red-video")
        self.assertEqual(jointcap.delta(before, "jointcap_uncapped_total"), 1)
        self._redis = harness.Redis(self.folder, "redis")
        self.started.append(self._redis)
        harness.wait_until(lambda: self.reason(jointcap, catalogs.request("p3")) == "bid",
                           "the store's return")

    def test_allow_without_counts_is_counted(self):
        catalogs.line(self.catalog, "red-rtb")["on_store_error"] = "allow"
        jointcap = self.start()
        self.redis().stop()
        before = jointcap.metrics()
        self.assertEqual(self.reason(jointcap, catalogs.request("p1")), "bid")
        self.assertEqual(jointcap.delta(before, "jointcap_uncapped_total"), 1)


class Hostile(WithX):
    def test_bodies_cut_at_every_byte_keep_the_connection(self):
        jointcap = self.start()
        body = json.dumps(catalogs.request("p1")).encode()
        connection = jointcap.connect()
        reader = connection.makefile("rb")
        for cut in range(0, len(body)):
            connection.sendall(b"POST /openrtb2/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
                               % cut + body[:cut])
            self.assertEqual(reader.readline().split()[1], b"400", cut)
            while reader.readline() != b"\r\n":
                pass
        connection.sendall(b"POST /openrtb2/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
                           % len(body) + body)
        self.assertEqual(reader.readline().split()[1], b"200")

    def test_large_and_deep_bodies(self):
        jointcap = self.start()
        deep = b'{"id":"1","imp":' + b"[" * 100000 + b"]" * 100000 + b"}"
        wide = json.dumps(catalogs.request("p", [catalogs.banner(str(i)) for i in range(65)]))
        ext = json.dumps(catalogs.request("p", ext={"fill": "x" * 1000000}))
        self.assertEqual(jointcap.post("/openrtb2/x", deep)[0], 400)
        self.assertEqual(jointcap.post("/openrtb2/x", wide)[0], 400)
        self.assertIn(jointcap.post("/openrtb2/x", ext)[0], (200, 204))
        self.assertEqual(jointcap.post("/openrtb2/x", b"x" * (1 << 20))[0], 400)
        self.assertEqual(jointcap.post("/openrtb2/x", b"x" * ((1 << 20) + 1))[0], 413)


class Reload(WithX):
    def test_an_auction_that_waits_goes_on_with_the_new_catalog(self):
        deals = [catalogs.pdb_deal(f"PDB-{i}") for i in range(2, 60)]
        for deal in deals:
            self.catalog["deals"].append({"id": deal["id"], "exchange": "x", "buying": "pdb",
                                          "owner": "red", "cpm": 25, "push_ratio": 1.5})
            catalogs.line(self.catalog, "red-pdb")["deals"].append(deal["id"])
        for exchange in self.catalog["exchanges"]:
            exchange["tmax_ms"] = 9000
        new = catalogs.catalog()  # fewer deals and budgets, other exchanges
        new["exchanges"] = [{"id": "y", "ids": ["device.ifa"]}, new["exchanges"][0]]
        new["campaigns"].reverse()
        for campaign in new["campaigns"]:
            del campaign["budget"]
        catalogs.line(new, "red-rtb")["bid_cpm"] = 7
        jointcap = self.start(redis_timeout="10s")
        banner, video = [catalogs.banner()], [catalogs.video(deals=deals[::-1])]
        _, answer = jointcap.bid("x", catalogs.request("a", video))
        self.assertEqual(answer["seatbid"][0]["bid"][0]["dealid"], "PDB-59")
        before = jointcap.metrics()
        self.redis().process.send_signal(signal.SIGSTOP)
        connections = []
        both = banner + [{**video[0], "id": "2"}]
        for exchange, imps in (("x", banner), ("x", video), ("x", both),
                               ("x204", banner)):
            body = json.dumps(catalogs.request(f"p{len(connections)}", imps, tmax=9000)).encode()
            connections.append(jointcap.connect())
            connections[-1].sendall(b"POST /openrtb2/%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d"
                                    b"\r\n\r\n%s" % (exchange.encode(), len(body), body))
        harness.wait_until(lambda: jointcap.delta(before, "jointcap_http_requests_total") == 4,
                           "requests that wait for Redis")
        status, _ = jointcap.load_catalog(new)
        self.redis().process.send_signal(signal.SIGCONT)
        self.assertEqual(status, 200)
        answers = []
        for connection in connections:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
            answers.append([(bid["impid"], bid["price"], bid.get("dealid"))
                            for seat in (json.loads(body) if body else {}).get("seatbid", [])
                            for bid in seat["bid"]])
            connection.close()
        self.assertEqual(answers, [[("1", 7, None)], [], [("1", 7, None)], []])
        self.assertEqual(jointcap.delta(before, "jointcap_worker_restarts_total"), 0)

    def test_catalogs_change_under_load_without_a_failed_request(self):
        jointcap = self.start(workers=2)
        stop, failures, answered = threading.Event(), [], [0]

        def client(number):
            connection = jointcap.connect()
            reader = connection.makefile("rb")
            while not stop.is_set():
                body = json.dumps(catalogs.request(f"{number}-{answered[0]}")).encode()
                connection.sendall(
                    b"POST /openrtb2/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
                    % len(body) + body)
                status = reader.readline().split()[1]
                length = 0
                for header in iter(reader.readline, b"\r\n"):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                reader.read(length)
                if status not in (b"200", b"204"):
                    failures.append(status)
                answered[0] += 1

        clients = [threading.Thread(target=client, args=(n,)) for n in range(4)]
        for thread in clients:
            thread.start()
        for price in range(11, 31):
            catalogs.line(self.catalog, "red-rtb")["bid_cpm"] = price
            status, answer = jointcap.load_catalog(self.catalog)
            self.assertEqual(status, 200, answer)
        bad = catalogs.catalog()
        bad["campaigns"][0]["brand"] = "rde"
        status, answer = jointcap.load_catalog(bad)
        self.assertEqual(status, 422)
        self.assertIn("red", json.dumps(answer))
        stop.set()
        for thread in clients:
            thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(answered[0], 100)
        answers = (jointcap.bid("x", catalogs.request(f"last-{i}"))[1] for i in range(1000))
        last = harness.wait_until(lambda: next(answers).get("seatbid"), "a bid by the last catalog")
        self.assertEqual(last[0]["bid"][0]["price"], 30)


if __name__ == "__main__":
    unittest.main()
