"""Content-Encoding and Accept-Encoding: only where the exchange's profile has gzip."""
import gzip
import http.client
import json
import pathlib
import unittest

import catalogs
import harness


class Gzip(harness.Case):
    def setUp(self):
        super().setUp()
        self.catalog = catalogs.catalog()
        self.catalog["exchanges"][0]["gzip"] = True
        self.catalog["exchanges"].append({"id": "plain", "ids": ["device.ifa"]})
        path = pathlib.Path(self.folder) / "catalog.json"
        path.write_text(json.dumps(self.catalog))
        self.server = self.jointcap(catalog=path, workers=1, redis_timeout="500ms",
                                    max_body="64k")

    def send(self, exchange, body, **headers):
        return self.server.post(f"/openrtb2/{exchange}", body,
                                {name.replace("_", "-"): value for name, value in headers.items()})

    def test_both_ways(self):
        exchange = self.catalog["exchanges"][0]["id"]
        packed = gzip.compress(json.dumps(catalogs.request("p1")).encode())
        status, headers, body = self.send(exchange, packed, Content_Encoding="gzip",
                                          Accept_Encoding="br, gzip;q=0.5")
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertEqual(int(headers["Content-Length"]), len(body))
        self.assertTrue(json.loads(gzip.decompress(body))["seatbid"])
        status, headers, body = self.send(exchange, packed, Content_Encoding="gzip")
        self.assertEqual(status, 200)
        self.assertNotIn("Content-Encoding", headers)
        self.assertTrue(json.loads(body)["seatbid"])

    def test_requests_under_way_keep_their_own_bodies(self):
        """Both wait for Redis at once; the second must not overwrite what the first was inflated to."""
        exchange = self.catalog["exchanges"][0]["id"]
        harness.wait_until(lambda: self.server.bid(exchange, catalogs.request("warm"))[1].get("seatbid"),
                           "a bid")
        requests = [catalogs.request(f"person-{number}") for number in range(4)]
        self.redis().command("CLIENT", "PAUSE", "150", "ALL")
        sockets = []
        for request in requests:
            body = gzip.compress(json.dumps(request).encode())
            sock = self.server.connect()
            sock.sendall(b"POST /openrtb2/%s HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (exchange.encode(), len(body), body))
            sockets.append(sock)
        for sock, request in zip(sockets, requests):
            with sock, http.client.HTTPResponse(sock) as response:
                response.begin()
                answer = json.loads(response.read())
            self.assertEqual(answer["id"], request["id"])
            self.assertEqual(answer["seatbid"][0]["bid"][0]["impid"], request["imp"][0]["id"])

    def test_what_is_not_gzip_or_not_agreed_is_refused(self):
        exchange = self.catalog["exchanges"][0]["id"]
        body = json.dumps(catalogs.request("p1")).encode()
        packed = gzip.compress(body)
        for sent, encoding, expected in (
                (packed, "br", 415), (packed, "gzip, gzip", 415), (body, "gzip", 400),
                (packed[:-1], "gzip", 400), (packed + b"x", "gzip", 400), (b"", "gzip", 400),
                (gzip.compress(bytes(1 << 22)), "gzip", 413), (body, "identity", 200)):
            status, headers, _ = self.send(exchange, sent, Content_Encoding=encoding)
            self.assertEqual(status, expected, (encoding, sent[:20]))
            self.assertNotIn("Connection", headers)
        self.assertEqual(self.send("plain", packed, Content_Encoding="gzip")[0], 415)


if __name__ == "__main__":
    unittest.main()
