"""The admin port: its pages, who may have which, how much it takes, and what it costs the auctions."""
import json
import re
import socket
import threading
import unittest

import catalogs
import harness


class Pages(harness.Case):
    def test_pages_tokens_and_methods(self):
        jointcap = self.jointcap()
        self.assertEqual(jointcap.admin("GET", "/healthz", token=None)[0], 200)
        status, headers, _ = jointcap.admin("HEAD", "/metrics", token=None)
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(jointcap.admin("GET", "/nothing")[0], 404)
        status, headers, _ = jointcap.admin("POST", "/metrics", b"")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        catalog = harness.CATALOG.read_text()
        for token in (None, "wrong", harness.TOKEN + "x", harness.TOKEN[:-1]):
            self.assertEqual(jointcap.admin("POST", "/catalog", catalog, token=token)[0], 401)
        status, _, body = jointcap.admin("GET", "/catalog", token=None)
        self.assertEqual((status, json.loads(body)["generation"]), (200, 1))

    def test_writes_are_refused_without_a_configured_token(self):
        jointcap = self.jointcap(admin_token="")
        self.assertEqual(jointcap.admin("POST", "/catalog", "{}", token="")[0], 403)
        self.assertEqual(jointcap.admin("POST", "/catalog", "{}", token="x")[0], 403)
        # What only costs something is open then, and guarded once there is a token.
        self.assertEqual(jointcap.admin("POST", "/explain", "{}", token=None)[0], 400)
        self.assertEqual(jointcap.admin("GET", "/pacing", token=None)[0], 200)

    def test_what_costs_or_tells_of_plans_needs_the_token(self):
        jointcap = self.jointcap()
        for token in (None, "wrong"):
            self.assertEqual(jointcap.admin("POST", "/explain?exchange=x", "{}", token=token)[0], 401)
            self.assertEqual(jointcap.admin("GET", "/pacing", token=token)[0], 401)
        self.assertEqual(jointcap.admin("GET", "/pacing")[0], 200)

    def answer_to_head(self, jointcap, path, *headers):
        """What the admin port says to a head whose body never comes, up to its FIN."""
        with socket.create_connection((jointcap.admin_host, jointcap.admin_port),
                                      harness.WAIT_SECONDS) as sock:
            lines = [f"POST {path} HTTP/1.1", "Host: t", *headers, "", ""]
            sock.sendall("\r\n".join(lines).encode())
            with sock.makefile("rb") as reader:
                return reader.read().decode()

    def test_who_has_no_right_is_told_before_the_body(self):
        jointcap = self.jointcap()
        right, large = f"Authorization: Bearer {harness.TOKEN}", "Content-Length: 200000000"
        for path in ("/catalog", "/consent", "/explain?exchange=x"):
            for headers in ((large,), (large, right + "x"), ("Transfer-Encoding: chunked",),
                            (large, "Expect: 100-continue")):
                with self.subTest(path=path, headers=headers):
                    answer = self.answer_to_head(jointcap, path, *headers)
                    self.assertTrue(answer.startswith("HTTP/1.1 401 "), answer)
        self.assertTrue(self.answer_to_head(jointcap, "/nowhere", large, right)
                        .startswith("HTTP/1.1 404 "))
        # Only a catalog may be large; also when the body does not say its size beforehand.
        for path in ("/consent", "/explain?exchange=x"):
            answer = self.answer_to_head(jointcap, path, large, right)
            self.assertTrue(answer.startswith("HTTP/1.1 413 "), answer)
            with socket.create_connection((jointcap.admin_host, jointcap.admin_port),
                                          harness.WAIT_SECONDS) as sock:
                sock.sendall(f"POST {path} HTTP/1.1\r\nHost: t\r\n{right}\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n".encode())
                sock.sendall(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
                sock.sendall(b"f0000\r\n")
                self.assertTrue(sock.recv(1000).startswith(b"HTTP/1.1 413 "))
        self.assertEqual(jointcap.admin("POST", "/catalog", harness.CATALOG.read_text())[0], 200)

    def test_metrics_parse_and_count(self):
        jointcap = self.jointcap()
        before = jointcap.metrics()
        self.assertEqual(jointcap.get("/healthz")[0], 200)
        self.assertEqual(jointcap.get("/nowhere")[0], 404)
        grown = jointcap.deltas(before)
        self.assertEqual(grown["jointcap_http_requests_total"], 2)
        self.assertEqual(grown['jointcap_http_responses_total{status="200"}'], 1)
        self.assertEqual(grown['jointcap_http_responses_total{status="404"}'], 1)
        self.assertEqual(grown["jointcap_request_lag_seconds_count"], 2)
        self.assertEqual(jointcap.metrics()["jointcap_workers_up"], 2)


class Auctions(harness.Case):
    def start(self, catalog):
        path = f"{self.folder}/catalog.json"
        with open(path, "w") as file:
            json.dump(catalog, file)
        return self.jointcap(workers=1, catalog=path)

    def test_an_explanation_of_many_lines_takes_turns_with_the_auctions(self):
        catalog = catalogs.catalog()
        lines = catalog["campaigns"][0]["line_items"]
        lines += [{**lines[1], "id": f"copy-{i}"} for i in range(3000)]
        jointcap = self.start(catalog)
        before = jointcap.metrics()
        status, _, text = jointcap.admin("POST", "/explain?exchange=x",
                                         json.dumps(catalogs.request("p")))
        self.assertEqual(status, 200)
        self.assertEqual(len(re.findall(r"^  copy-\d+ ", text.decode(), re.M)), 3000)
        # At a millisecond a turn: no machine looks at so many lines in a few of them.
        self.assertGreater(jointcap.delta(before, "jointcap_loop_turns_total"), 3)

    def test_an_explanation_holds_no_orders_for_a_terminal(self):
        jointcap = self.start(catalogs.catalog())
        request = catalogs.request("p", id="\x1b[2J\n  red-rtb  would\x7f", user={"id": "\x1b"})
        request["imp"][0].update(id="\x1b]0;x\x07", pmp={"deals": [{"id": "d\u009b1m"}]})
        request["site"]["domain"] = "a\x1b[1mb.example"
        status, _, text = jointcap.admin("POST", "/explain?exchange=x", json.dumps(request))
        self.assertEqual(status, 200)
        self.assertNotRegex(text.decode(), "[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        self.assertTrue(text.decode().startswith("request ?[2J?  red-rtb  would? on x, "), text)
        self.assertEqual(len(re.findall(r"^  red-rtb ", text.decode(), re.M)), 1)

    def test_the_gauge_of_running_auctions_is_right_while_they_run(self):
        jointcap = self.start(catalogs.catalog())

        def running():
            return jointcap.metrics()["jointcap_auctions_running"]
        self.assertEqual(running(), 0)
        self.redis().command("CLIENT", "PAUSE", 3000)
        client = threading.Thread(target=jointcap.bid, args=("x", catalogs.request("p")))
        client.start()
        harness.wait_until(lambda: running() == 1, "the auction that waits for Redis")
        client.join()
        harness.wait_until(lambda: running() == 0, "its end")


if __name__ == "__main__":
    unittest.main()
