"""The three kinds of exchange of deploy/catalog.json as they see us: generic OpenRTB (openrtb), Google's
way (adx), a Chinese video exchange (cn-video)."""
import base64
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
import unittest

import catalogs
import harness

sys.path.insert(0, str(harness.ROOT / "bench"))
import protobuf  # noqa: E402

PROTOBUF = {"Content-Type": "application/x-protobuf"}
# What depends on the auction, not on the decision.
OF_THE_AUCTION = {"id", "nurl", "burl", "lurl", "adm"}


def pdb_video(deal, floor):
    return catalogs.video(deals=[catalogs.pdb_deal(deal, floor)])


class Profiles(harness.Case):
    def setUp(self):
        super().setUp()
        self.catalog = json.loads((harness.ROOT / "deploy/catalog.json").read_text())

    def start(self, **options):
        path = pathlib.Path(self.folder) / "catalog.json"
        path.write_text(json.dumps(self.catalog))
        self.profiles = {profile["id"]: profile for profile in self.catalog["exchanges"]}
        server = self.jointcap(catalog=path, workers=1, redis_timeout="500ms",
                               public_url="http://ads.example", **options)
        # Until every budget has its lease.
        harness.wait_until(lambda: server.bid("openrtb", catalogs.request("p", test=1))[0] == 200, "a bid")
        return server

    def no_bids(self, server, before):
        """{reason: count} since then."""
        return {re.search(r'reason="(\w+)"', name)[1]: count
                for name, count in server.deltas(before).items()
                if name.startswith("jointcap_no_bids_total")}

    def post_protobuf(self, server, exchange, request):
        """(status, headers, answer); every body must be a BidResponse."""
        body = request if isinstance(request, bytes) else protobuf.request(request)
        status, headers, body = server.post(f"/openrtb2/{exchange}", body, PROTOBUF)
        return status, headers, protobuf.response(body)

    def spend(self, server, url, price, currency):
        """Calls the url; what has been settled of the budgets afterwards, in micros."""
        url = url.replace("${AUCTION_PRICE}", price).replace("${AUCTION_CURRENCY}", currency)
        self.assertNotIn("${", url)
        self.assertIn(server.get(url.removeprefix("http://ads.example"))[0], (200, 204))

        def settled():
            keys = self.redis().command("KEYS", "b:{*}:*")
            return {value for value in (int(self.redis().command("HGET", key, "S") or 0)
                                        for key in keys) if value}
        return harness.wait_until(settled, "the money in Redis")

    # --- any exchange ---

    def test_probes(self):
        server = self.start()
        for exchange in self.profiles:
            with self.subTest(exchange):
                status, _, body = server.get(f"/openrtb2/{exchange}/ready")
                self.assertEqual((status, body), (200, b"1"))
                status, _, body = server.post(f"/openrtb2/{exchange}", b" 1\n")
                self.assertEqual((status, body), (200, b"1"))
        self.assertEqual(server.get("/openrtb2/nobody/ready")[0], 404)
        self.assertEqual(server.get("/openrtb2/openrtb")[0], 405)
        self.assertEqual(server.get("/openrtb2//ready")[0], 405)

    def test_headers(self):
        server = self.start()
        headers = server.post("/openrtb2/openrtb", catalogs.request("p", test=1))[1]
        self.assertRegex(headers["x-openrtb-version"], r"^2\.\d")
        self.assertNotIn("X-Dsp", headers)
        headers = server.post("/openrtb2/cn-video", catalogs.request("p", test=1))[1]
        self.assertEqual(headers["X-Dsp"], "jointcap")
        self.assertNotIn("x-openrtb-version", headers)

    def test_json_and_protobuf_get_the_same_decision(self):
        server = self.start()
        requests = [catalogs.request(person, imps, test=1, cur=["CNY", "USD"])
                    for person in ("p-1", None)
                    for imps in (None, [catalogs.banner("a"), catalogs.banner("b", floor=9)],
                                 [catalogs.video(deals=[{"id": "PA-2026-001", "bidfloor": 20,
                                                         "bidfloorcur": "CNY", "at": 1}])],
                                 [catalogs.banner(floor=1000)])]
        bids = 0
        for request in requests:
            for exchange in ("openrtb", "adx"):
                with self.subTest(exchange=exchange, request=request["id"]):
                    status, _, body = server.post(f"/openrtb2/{exchange}", request)
                    twin_status, _, twin = self.post_protobuf(server, exchange, request)
                    self.assertEqual(status, twin_status)
                    answer = json.loads(body) if body else {}
                    self.assertEqual(answer.get("cur"), twin.get("cur"))
                    self.assertEqual(answer.get("id"), twin.get("id"))
                    seats = answer.get("seatbid", []), twin.get("seatbid", [])
                    decisions = [[(seat.get("seat"), {name: value for name, value in bid.items()
                                                      if name not in OF_THE_AUCTION})
                                  for seat in seatbid for bid in seat["bid"]] for seatbid in seats]
                    self.assertEqual(*decisions)
                    bids += len(decisions[0])
        self.assertGreaterEqual(bids, 6)

    def test_a_rate_above_the_agreed_one_gets_an_early_204(self):
        for profile in self.catalog["exchanges"]:
            if profile["id"] in ("cn-video", "adx"):
                profile["max_qps"] = 1
        server = self.start()
        before = server.metrics()
        statuses = [server.bid("cn-video", catalogs.request("p", test=1))[0] for _ in range(20)]
        limited = self.no_bids(server, before)["rate_limited"]
        self.assertGreaterEqual(limited, 10)
        self.assertEqual(statuses.count(204), limited)
        before = server.metrics()
        for _ in range(20):  # Google's way even this is a BidResponse
            status, headers, answer = self.post_protobuf(server, "adx", catalogs.request("p", test=1))
            self.assertEqual((status, headers["Content-Type"]), (200, "application/x-protobuf"))
        self.assertGreaterEqual(self.no_bids(server, before)["rate_limited"], 10)

    # --- Google's way ---

    def test_every_protobuf_request_gets_a_bid_response(self):
        server = self.start()
        whole = protobuf.request(catalogs.request("p-1", test=1))
        bodies = [protobuf.request(catalogs.request("p-1", [catalogs.banner(floor=1000)])),
                  b"", b"\xff\xff\xff", whole[:-1], whole[:7], b"not protobuf at all"]
        for body in bodies:
            status, headers, answer = self.post_protobuf(server, "adx", body)
            self.assertEqual((status, headers["Content-Type"], answer.get("seatbid")),
                             (200, "application/x-protobuf", None), body)
        status, _, answer = self.post_protobuf(server, "adx", whole)
        self.assertTrue(answer["seatbid"])
        self.redis().command("CLIENT", "PAUSE", "400", "ALL")  # a store that is late is a no-bid too
        status, _, answer = self.post_protobuf(server, "adx", catalogs.request("p-2"))
        self.assertEqual((status, answer.get("seatbid")), (200, None))

    def test_encrypted_price(self):
        server = self.start()
        request = catalogs.request("p-1", cur=["USD"])
        answer = self.post_protobuf(server, "adx", request)[2]
        self.assertEqual(answer["cur"], "USD")
        bid = answer["seatbid"][0]["bid"][0]
        keys = [base64.b64decode(self.profiles["adx"]["price_encoding"]["google"][name])
                for name in ("encryption_key", "integrity_key")]
        start = bytes(range(16))
        price = struct.pack(">Q", 500)  # micros of one impression: half a dollar for a thousand
        pad = hmac.digest(keys[0], start, hashlib.sha1)[:8]
        sealed = bytes(a ^ b for a, b in zip(price, pad))
        tag = hmac.digest(keys[1], price + start, hashlib.sha1)[:4]
        text = base64.urlsafe_b64encode(start + sealed + tag).decode().rstrip("=")
        # 0.50 USD CPM at 7.1 CNY is 0.00355 CNY for one impression; what is owed rounds up.
        self.assertEqual(self.spend(server, bid["burl"], text, "USD"), {3551})

    # --- a Chinese video exchange ---

    def test_204_or_200_only_and_prices_in_fen(self):
        server = self.start()
        for body in (catalogs.request("p-1", [catalogs.banner(floor=100000)]),
                     catalogs.request("p-1", [catalogs.banner(floor=951)],
                                      badv=["oreo.example", "mondelez.example"])):
            status, _, answer = server.post("/openrtb2/cn-video", body)
            self.assertEqual((status, answer), (204, b""))
        request = catalogs.request("p-1", [pdb_video("PDB-2026-CV-006", 2400)])
        status, answer = server.bid("cn-video", request)
        bid = answer["seatbid"][0]["bid"][0]
        self.assertEqual((status, bid["price"], bid["dealid"]), (200, 2400, "PDB-2026-CV-006"))
        self.assertIn('version="3.0"', bid["adm"])
        request = catalogs.request("p-2", [catalogs.banner(floor=900)],
                                   badv=["northcar.example"])
        bid = server.bid("cn-video", request)[1]["seatbid"][0]["bid"][0]
        self.assertGreaterEqual(bid["price"], 900)
        self.assertLessEqual(bid["price"], 2000)
        # 400 fen CPM are 4 yuan for a thousand, 4000 micros for one.
        self.assertEqual(self.spend(server, bid["burl"], "400", "CNY"), {4000})

    def test_ids_of_devices_in_china(self):
        server = self.start()

        def records(**device):
            request = catalogs.request(None, [pdb_video("PDB-2026-CV-006", 2400)])
            del request["device"]["ip"]  # else its household has a record too
            request["device"].update(device)
            status, answer = server.bid("cn-video", request)
            self.assertEqual(status, 200)
            return sum(map(harness.is_person, self.redis().command("KEYS", "*")))

        oaid = "A1B2C3D4-0000-1111-2222-333344445555"
        self.assertEqual(records(ext={"oaid": oaid}), 1)
        self.assertEqual(records(ext={"oaid": oaid.lower()}), 1)
        self.assertEqual(records(didmd5=hashlib.md5(oaid.lower().encode()).hexdigest()), 1)
        self.assertEqual(records(ext={"caid": "c" * 32}), 2)
        self.assertEqual(records(ext={"oaid": "00000000-0000-0000-0000-000000000000"}), 2)

    def test_too_little_time_is_said_at_once(self):
        server = self.start()
        before = server.metrics()
        margin = self.profiles["cn-video"]["margin_ms"]
        self.assertEqual(server.bid("cn-video", catalogs.request("p-1", tmax=margin))[0], 204)
        self.assertEqual(self.no_bids(server, before), {"no_time": 1})
        before = server.metrics()
        self.redis().command("CLIENT", "PAUSE", "400", "ALL")
        # tmax above the profile's: the profile's holds, and the pause is longer than that.
        self.assertEqual(server.bid("cn-video", catalogs.request("p-3", tmax=900))[0], 204)
        self.assertEqual(self.no_bids(server, before), {"store_late": 1})


if __name__ == "__main__":
    unittest.main()
