"""jointcap-load against a small server of our own that delays, stalls, breaks off or misbehaves."""
import collections
import json
import pathlib
import random
import re
import selectors
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import xml.dom.minidom

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LOAD = ROOT / "build/release/jointcap-load"
LOAD_ASAN = ROOT / "build/asan/jointcap-load"
SEED = random.randrange(1, 1 << 30)

BODY = {"id": "0123456789abcdef0123", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}],
        "device": {"ifa": "12345678-1234-1234-1234-123456789abc",
                   "didmd5": "6f5902ac237024bdd0c176cb93063dc4"}}


def answer(body=b"", status="200 OK", head=b""):
    return (f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode() + head + b"\r\n"
            + body)


def bid_answer(port, price=12.5):
    base = f"http://127.0.0.1:{port}"
    vast = (f"<VAST><Ad><InLine><Impression><![CDATA[{base}/imp]]></Impression></InLine></Ad>"
            "</VAST>")
    return answer(json.dumps({"id": "x", "cur": "CNY", "seatbid": [{"bid": [
        {"id": "b", "impid": "1", "price": price, "nurl": base + "/win?p=${AUCTION_PRICE}",
         "burl": base + "/bill", "lurl": base + "/loss?r=${AUCTION_LOSS}", "adm": vast}]}]}).encode())


class Server:
    """One thread; on_post(server, number of the POST, body) returns bytes, or None to close."""

    def __init__(self, on_post):
        self.on_post = on_post
        self.posts = []
        self.gets = collections.Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        buffers = {}
        while not self.stopping:
            for key, _ in self.selector.select(0.02):
                if key.fileobj is self.listener:
                    peer, _ = self.listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    buffers[peer] = b""
                    self.selector.register(peer, selectors.EVENT_READ)
                else:
                    self.serve(key.fileobj, buffers)
        for peer in buffers:
            peer.close()

    def close(self, peer, buffers):
        self.selector.unregister(peer)
        del buffers[peer]
        peer.close()

    def serve(self, peer, buffers):
        try:
            got = peer.recv(65536)
        except ConnectionError:
            got = b""
        if not got:
            self.close(peer, buffers)
            return
        buffers[peer] += got
        head, mark, rest = buffers[peer].partition(b"\r\n\r\n")
        if not mark:
            return
        length = re.search(rb"Content-Length: (\d+)", head)
        length = int(length.group(1)) if length else 0
        if len(rest) < length:
            return
        buffers[peer] = rest[length:]
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            self.gets[path.decode()] += 1
            peer.sendall(answer())
            return
        reply = self.on_post(self, len(self.posts), rest[:length])
        self.posts.append(rest[:length])
        if reply is None:
            self.close(peer, buffers)
            return
        peer.sendall(reply)
        if b"Connection: close" in reply or b"Content-Length" not in reply \
                and b"chunked" not in reply and b"204" not in reply:
            self.close(peer, buffers)

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.listener.close()
        self.selector.close()


class LoadTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.body = self.folder / "request.json"
        self.body.write_text(json.dumps(BODY))

    def serve(self, on_post):
        server = Server(on_post)
        self.addCleanup(server.stop)
        return server

    def load(self, server, *options, expect=0, program=LOAD_ASAN, seed=SEED):
        """With time enough to catch up at the end, so that a busy machine changes no count."""
        if expect == 0:
            options = ("--grace", 20000, "--timeout", 20000, *options)
        out = self.folder / "out.json"
        done = subprocess.run(
            [program, "--body", self.body, "--seed", str(seed), "--json", out, "--warmup", "0",
             *map(str, options), f"http://127.0.0.1:{server.port}/openrtb2/test"],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, expect, f"seed {seed}\n{done.stdout}{done.stderr}")
        return json.loads(out.read_text()), done.stdout

    def test_a_stall_shows_from_the_planned_time_only(self):
        """300 ms of silence in 2 s at 500/s: every seventh request is late. Only the few that were
        under way when it began saw a slow service; the rest waited for a connection."""
        stalled = []

        def on_post(server, number, body):
            if number == 300:
                stalled.append(number)
                time.sleep(0.3)
            return answer(status="204 No Content")

        server = self.serve(on_post)
        result, _ = self.load(server, "--rate", 500, "--duration", 2, "--connections", 4,
                              program=LOAD)
        self.assertEqual(stalled, [300])
        self.assertEqual(result["outcomes"]["no_bid"], 1000)
        planned, service = result["latency_us"], result["service_us"]
        self.assertEqual(planned["count"], service["count"])
        self.assertGreater(planned["p99"], 200_000)
        self.assertGreater(planned["p90"], 50_000)
        self.assertGreater(service["max"], 200_000)
        self.assertLess(service["p99"], planned["p99"] / 2)

    def test_a_rate_that_is_not_delivered_is_said(self):
        def on_post(server, number, body):
            time.sleep(0.02)
            return answer(status="204 No Content")

        server = self.serve(on_post)
        result, text = self.load(server, "--rate", 200, "--duration", 1, "--connections", 1,
                                 expect=3)
        self.assertIn("NOT DELIVERED", text)
        self.assertFalse(result["delivered"])
        self.assertEqual(result["due"], 200)
        self.assertAlmostEqual(result["target_rate"], 200, delta=0.01)
        self.assertLessEqual(result["delivered_rate"], 52)
        self.assertEqual(sum(result["outcomes"].values()), 200)
        self.assertGreater(result["outcomes"]["unsent"], 140)
        # What never left is part of the latency, with its wait until the end.
        self.assertEqual(result["latency_us"]["count"], 200)
        self.assertGreater(result["latency_us"]["p50"], 300_000)

    def test_counts_agree_with_the_server(self):
        def on_post(server, number, body):
            return [answer(status="204 No Content"), bid_answer(server.port), answer(b"{}"),
                    answer(b"oops", "500 Internal Server Error")][number % 4]

        server = self.serve(on_post)
        result, _ = self.load(server, "--rate", 400, "--duration", 1, "--poisson")
        self.assertEqual(len(server.posts), result["due"])
        outcomes = result["outcomes"]
        self.assertEqual(outcomes["bid"], (result["due"] + 2) // 4)
        self.assertEqual(outcomes["other_status"], result["due"] // 4)
        self.assertEqual(sum(outcomes.values()), result["due"])
        self.assertEqual(result["statuses"]["500"], outcomes["other_status"])
        latency = result["latency_us"]
        self.assertEqual(latency["count"], result["due"])
        names = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
        self.assertEqual([latency[n] for n in names], sorted(latency[n] for n in names))
        self.assertGreater(latency["p50"], 0)
        self.assertEqual(sum(server.gets.values()), 0)

    def test_each_request_is_new_and_persons_come_again(self):
        server = self.serve(lambda server, number, body: answer(status="204 No Content"))
        self.load(server, "--rate", 500, "--duration", 1, "--persons", 20, "--zipf", 1)
        first = [json.loads(body) for body in server.posts]
        self.assertEqual(len({body["id"] for body in first}), 500)
        self.assertTrue(all(len(body["id"]) == 20 for body in first))
        persons = {(body["device"]["ifa"], body["device"]["didmd5"]) for body in first}
        self.assertLessEqual(len(persons), 20)
        self.assertGreater(len(persons), 10)
        self.assertEqual(len({ifa for ifa, _ in persons}), len(persons))
        self.assertEqual(len({md5 for _, md5 in persons}), len(persons))
        for ifa, md5 in persons:
            self.assertRegex(ifa, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
            self.assertRegex(md5, r"^[0-9a-f]{32}$")
        seen = collections.Counter(body["device"]["ifa"] for body in first)
        self.assertGreater(seen.most_common(1)[0][1], 500 / 20)
        for body in first:  # nothing else changed
            body["id"], body["device"] = BODY["id"], BODY["device"]
            self.assertEqual(body, BODY)

    def test_a_seed_repeats_the_run_and_another_does_not(self):
        runs = []
        for seed in (11, 11, 12):
            server = self.serve(lambda server, number, body: answer(status="204 No Content"))
            self.load(server, "--rate", 200, "--duration", 0.5, "--connections", 1, seed=seed)
            runs.append(server.posts)
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])

    def test_wins_are_notified(self):
        server = self.serve(lambda server, number, body: bid_answer(server.port))
        result, _ = self.load(server, "--rate", 100, "--duration", 1, "--win-rate", 1,
                              "--notice-delay", 20, "--clearing", 0.8)
        self.assertEqual(server.gets, {"/win?p=10": 100, "/bill": 100, "/imp": 100})
        self.assertEqual(result["notices"]["wins"], 100)
        self.assertEqual(result["notices"]["statuses"], {"200": 300})
        self.assertEqual(result["notice_us"]["count"], 300)

    def test_losses_duplicates_and_shares(self):
        server = self.serve(lambda server, number, body: bid_answer(server.port))
        result, _ = self.load(server, "--rate", 400, "--duration", 1, "--win-rate", 0.25, "--loss",
                              "--duplicate", 1, "--notice-delay", 0)
        wins = result["notices"]["wins"]
        self.assertTrue(60 < wins < 140, wins)
        self.assertEqual(server.gets, {"/win?p=10": 2 * wins, "/bill": 2 * wins, "/imp": 2 * wins,
                                       "/loss?r=102": 2 * (400 - wins)})

    def test_notices_go_where_they_are_told(self):
        other = self.serve(lambda server, number, body: None)
        server = self.serve(lambda server, number, body: bid_answer(9))
        self.load(server, "--rate", 50, "--duration", 0.5, "--win-rate", 1, "--notice-delay", 1,
                  "--notice-to", f"127.0.0.1:{other.port}")
        self.assertEqual(sum(other.gets.values()), 75)
        self.assertEqual(sum(server.gets.values()), 0)

    def test_chunks_closing_and_interim_answers(self):
        def on_post(server, number, body):
            return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
                    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}"),
                    answer(b"{}", head=b"Connection: close\r\n"),
                    b"HTTP/1.1 200 OK\r\n\r\nuntil the end"][number % 4]

        server = self.serve(on_post)
        result, _ = self.load(server, "--rate", 200, "--duration", 1)
        self.assertEqual(result["outcomes"]["no_bid"], 200)
        self.assertGreaterEqual(result["connects"], 100)

    def test_failures_are_told_apart(self):
        def on_post(server, number, body):
            if number % 10 == 3:
                return None
            if number % 10 == 7:
                return b"SSH-2.0-OpenSSH Content-Length chunked\r\n\r\n"
            if number % 10 == 9:
                return answer(b"{}") + b"and more"
            return answer(b"{}")

        server = self.serve(on_post)
        result, _ = self.load(server, "--rate", 100, "--duration", 1, "--connections", 8, expect=3)
        outcomes = result["outcomes"]
        self.assertEqual(outcomes["closed"], 10)
        self.assertEqual(outcomes["malformed"], 20)
        self.assertEqual(outcomes["no_bid"], 70)
        self.assertEqual(result["latency_us"]["count"], 100)

    def test_timeouts_count_as_latency(self):
        def on_post(server, number, body):
            if number == 20:
                time.sleep(0.4)
            return answer(b"{}")

        server = self.serve(on_post)
        result, _ = self.load(server, "--rate", 100, "--duration", 1, "--connections", 2,
                              "--timeout", 150, expect=3)
        self.assertGreaterEqual(result["outcomes"]["timeout"], 1)
        self.assertGreaterEqual(result["latency_us"]["max"], 150_000)

    def test_closed_loop(self):
        server = self.serve(lambda server, number, body: answer(b"{}"))
        svg = self.folder / "out.svg"
        result, text = self.load(server, "--saturate", "--duration", 0.5, "--svg", svg)
        self.assertEqual(result["due"], len(server.posts))
        self.assertEqual(result["outcomes"]["no_bid"], result["due"])
        self.assertIn("closed loop", text)
        picture = xml.dom.minidom.parse(str(svg))
        self.assertEqual(picture.documentElement.tagName, "svg")
        self.assertGreaterEqual(len(picture.getElementsByTagName("path")), 4)

    def test_folders_weights_and_headers(self):
        seen = []

        def on_post(server, number, body):
            seen.append(json.loads(body).get("kind"))
            return answer(b"{}")

        folder = self.folder / "mix"
        folder.mkdir()
        for kind in ("a", "b"):
            (folder / f"{kind}.json").write_text(json.dumps({"id": "1", "kind": kind}))
        (folder / "ignored.txt").write_text("no JSON")
        server = self.serve(on_post)
        self.load(server, "--body", f"{folder}=4", "--rate", 900, "--duration", 1)
        counts = collections.Counter(seen)
        self.assertEqual(set(counts), {"a", "b", None})
        self.assertTrue(50 < counts[None] < 160, counts)

    def test_wrong_usage(self):
        url = "http://127.0.0.1:1/x"
        good = ["--body", str(self.body)]
        for arguments in ([], [url], good, [*good, "https://127.0.0.1/x"], [*good, url, url],
                          [*good, "--rate", "0", url], [*good, "--rate", "1x", url],
                          [*good, "--rate"], [*good, "--nonsense", url],
                          [*good, "--progress=yes", url], ["--body", "/nowhere.json", url],
                          [*good, "http://192.0.2.1:80/x"],
                          [*good, "--notice-to", "192.0.2.1:80", url]):
            done = subprocess.run([LOAD_ASAN, *arguments], capture_output=True, text=True,
                                  timeout=20)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertTrue(done.stderr.startswith(("jointcap-load: ", "/nowhere")), done.stderr)
        done = subprocess.run([LOAD_ASAN, *good, url], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1, "nothing listens there")

    def test_help_names_what_the_readme_names(self):
        text = subprocess.run([LOAD, "--help"], capture_output=True, text=True, check=True).stdout
        offered = set(re.findall(r"^  --([a-z-]+)", text, re.M))
        self.assertIn("win-rate", offered)
        readme = (ROOT / "bench/README.md").read_text()
        for block in re.findall(r"jointcap-load((?:[^`\n]|\\\n)*)", readme):
            for option in re.findall(r"--([a-z-]+)", block):
                self.assertIn(option, offered)


if __name__ == "__main__":
    unittest.main()
