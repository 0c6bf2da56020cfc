"""HTTP on the wire, against the real program: what bytes go in, what bytes come out, and whether
the connection lives on. The reader itself is tested in tests/unit/test_http.c."""
import socket
import unittest

import harness

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"


def read_response(reader):
    """(status, headers with lower-case names, body); None at the end of the stream."""
    line = reader.readline()
    if not line:
        return None
    version, status, _ = line.decode().split(" ", 2)
    assert version == "HTTP/1.1", line
    headers = {}
    while (line := reader.readline()) != b"\r\n":
        assert line.endswith(b"\r\n"), line
        name, value = line.decode().rstrip("\r\n").split(": ", 1)
        headers[name.lower()] = value
    body = reader.read(int(headers.get("content-length", 0)))
    return int(status), headers, body


class Wire:
    def __init__(self, jointcap):
        self.sock = jointcap.connect()
        self.reader = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.reader.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def response(self):
        return read_response(self.reader)

    def ended(self):
        return self.reader.read(1) == b""

    def alive(self):
        self.send(HEALTH)
        answer = self.response()
        return answer is not None and answer[0] == 200


def post(path=b"/openrtb2/iqiyi", body=b"{}", headers=b"Content-Type: application/json\r\n"):
    return (b"POST " + path + b" HTTP/1.1\r\nHost: t\r\n" + headers +
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


class HttpTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.server = self.jointcap(wait="serving", workers=1, head_timeout="200ms",
                                    body_timeout="200ms", max_body="1m")

    def test_keep_alive_many_requests(self):
        before = self.server.metrics()
        with Wire(self.server) as wire:
            for _ in range(100):
                self.assertTrue(wire.alive())
        self.assertEqual(self.server.delta(before, "jointcap_connections_accepted_total"), 1)
        self.assertEqual(self.server.delta(before, "jointcap_http_requests_total"), 100)

    def test_errors_above_http_keep_the_connection(self):
        cases = [
            (b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n", 404),
            (post(b"/nowhere"), 404),
            (post(b"/openrtb2/no-such-exchange"), 404),
            (b"GET /openrtb2/iqiyi HTTP/1.1\r\nHost: t\r\n\r\n", 405),
            (b"DELETE /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc", 405),
            (b"BREW /healthz HTTP/1.1\r\nHost: t\r\n\r\n", 501),
            (post(headers=b"Content-Type: text/html\r\n"), 415),
            (post(headers=b"Content-Encoding: br\r\n"), 415),
        ]
        with Wire(self.server) as wire:
            for request, expected in cases:
                wire.send(request)
                status, headers, _ = wire.response()
                self.assertEqual(status, expected, request)
                self.assertNotIn("connection", headers)
                if expected == 405:
                    self.assertIn("allow", headers)
            self.assertTrue(wire.alive())

    def test_a_bad_body_keeps_the_connection(self):
        with Wire(self.server) as wire:
            for body in (b"", b"nonsense", b"{", b"[]", b'"x"', b"\xff\xfe\x00", b"{} "):
                wire.send(post(body=body))
                status, headers, _ = wire.response()
                self.assertIn(status, (204, 400), body)
                self.assertNotIn("connection", headers)
            self.assertTrue(wire.alive())

    def test_lost_framing_closes_after_the_answer(self):
        cases = [
            (b"\x16\x03\x01\x02\x00\x01", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: a\n\n", 400),
            (b"GET / HTTP/3.0\r\n\r\n", 505),
            (b"POST / HTTP/1.1\r\nHost: t\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101, 431),
        ]
        for request, expected in cases:
            before = self.server.metrics()
            with Wire(self.server) as wire:
                wire.send(request + HEALTH)  # what follows must not be taken for a request
                status, headers, _ = wire.response()
                self.assertEqual(status, expected, request[:60])
                self.assertEqual(headers["connection"], "close")
                self.assertTrue(wire.ended(), request[:60])
            self.assertEqual(self.server.delta(before, "jointcap_http_requests_total"), 0)
            self.assertEqual(self.server.delta(
                before, f'jointcap_http_responses_total{{status="{expected}"}}'), 1)

    def test_smuggling_forms_never_reach_a_second_request(self):
        hidden = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
        chunked = b"0\r\n\r\n" + hidden
        forms = [
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(chunked),
            b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(chunked),
            b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(chunked),
            b"Content-Length: 0, %d\r\n" % len(chunked),
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n" % len(chunked),
            b"Transfer-Encoding:\x0bchunked\r\nContent-Length: %d\r\n" % len(chunked),
            b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            b"Content-Length: +0\r\n",
        ]
        for form in forms:
            before = self.server.metrics()
            with Wire(self.server) as wire:
                wire.send(b"POST /healthz HTTP/1.1\r\nHost: t\r\n" + form + b"\r\n" + chunked)
                self.assertEqual(wire.response()[0], 400, form)
                self.assertTrue(wire.ended(), form)
            self.assertEqual(self.server.delta(before, "jointcap_http_requests_total"), 0, form)

    def test_fifty_pipelined_requests_in_one_packet_in_order(self):
        with Wire(self.server) as wire:
            paths = [(b"/healthz", 200), (b"/none", 404), (b"/openrtb2/iqiyi", 405)]
            wire.send(b"".join(b"GET " + paths[i % 3][0] + b" HTTP/1.1\r\nHost: t\r\n\r\n"
                               for i in range(50)))
            for i in range(50):
                self.assertEqual(wire.response()[0], paths[i % 3][1], i)
            self.assertTrue(wire.alive())

    def test_pipelined_posts_in_odd_pieces(self):
        data = b"".join(post(body=b" " * (i * 37) + b"{}") for i in range(20)) + HEALTH
        with Wire(self.server) as wire:
            for at in range(0, len(data), 113):
                wire.send(data[at:at + 113])
            for _ in range(20):
                self.assertIn(wire.response()[0], (204, 400))
            self.assertEqual(wire.response()[0], 200)

    def test_chunked_bodies(self):
        head = (b"POST /openrtb2/iqiyi HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n")
        with Wire(self.server) as wire:
            for body in (b"2\r\n{}\r\n0\r\n\r\n", b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nT: v\r\n\r\n",
                         b"".join(b"1\r\n \r\n" for _ in range(5000)) + b"2\r\n{}\r\n0\r\n\r\n"):
                wire.send(head + body)
                self.assertIn(wire.response()[0], (204, 400))
            self.assertTrue(wire.alive())
        with Wire(self.server) as wire:
            wire.send(head + b"100001\r\n")
            self.assertEqual(wire.response()[0], 413)
            self.assertTrue(wire.ended())

    def test_bodies_of_one_mebibyte(self):
        body = b" " * ((1 << 20) - 2) + b"{}"
        with Wire(self.server) as wire:
            for _ in range(3):
                wire.send(post(body=body))
                self.assertIn(wire.response()[0], (204, 400))
            self.assertTrue(wire.alive())

    def test_expect_continue(self):
        with Wire(self.server) as wire:
            wire.send(b"POST /openrtb2/iqiyi HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
                      b"Content-Length: 2\r\n\r\n")
            self.assertEqual(wire.response()[0], 100)
            wire.send(b"{}")
            self.assertIn(wire.response()[0], (204, 400))
            wire.send(b"POST /openrtb2/iqiyi HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
                      b"Content-Length: 99999999\r\n\r\n")
            self.assertEqual(wire.response()[0], 413)
            self.assertTrue(wire.ended())

    def test_slow_clients_get_408(self):
        for part in (b"GET /healthz HT", HEALTH[:-2], post(body=b"{}")[:-1],
                     b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
            with Wire(self.server) as wire:
                wire.send(part)
                status, headers, _ = wire.response()
                self.assertEqual((status, headers["connection"]), (408, "close"), part)
                self.assertTrue(wire.ended())

    def test_a_trickle_does_not_extend_the_time(self):
        with Wire(self.server) as wire:
            wire.sock.settimeout(0.02)
            answer = b""
            head = b"GET /healthz HTTP/1.1\r\nHost: t\r\n"
            for byte in head + b"X: yyyyyyyyyyyyyyyyyyyyyy\r\n" * 99:
                try:
                    wire.send(bytes([byte]))
                    answer = wire.sock.recv(1000)
                    break
                except socket.timeout:
                    continue
            self.assertIn(b" 408 ", answer)

    def test_http_1_0(self):
        with Wire(self.server) as wire:
            wire.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, headers, _ = wire.response()
            self.assertEqual((status, headers["connection"]), (200, "keep-alive"))
            wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
            status, headers, _ = wire.response()
            self.assertEqual((status, headers["connection"]), (200, "close"))
            self.assertTrue(wire.ended())

    def test_head_has_a_length_and_no_body(self):
        with Wire(self.server) as wire:
            wire.send(b"HEAD /healthz HTTP/1.1\r\nHost: t\r\n\r\n" + HEALTH)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += wire.reader.read(1)
            self.assertIn(b"Content-Length: 3\r\n", head)
            self.assertEqual(wire.response()[2], b"ok\n")

    def test_half_closed_clients_get_their_answer(self):
        with Wire(self.server) as wire:
            wire.send(HEALTH)
            wire.sock.shutdown(socket.SHUT_WR)
            self.assertEqual(wire.response()[0], 200)
            self.assertTrue(wire.ended())

    def test_nothing_is_left_open(self):
        for _ in range(20):
            with Wire(self.server) as wire:
                wire.send(post()[:40])
        harness.wait_until(lambda: self.server.metrics()["jointcap_connections_open"] == 0,
                           "no connection")


class LimitTest(harness.Case):
    def test_connections_beyond_the_limit_get_503(self):
        server = self.jointcap(wait="serving", workers=1, max_connections=4)
        wires = [Wire(server) for _ in range(4)]
        for wire in wires:
            self.assertTrue(wire.alive())
        before = server.metrics()
        with Wire(server) as wire:
            self.assertEqual(wire.response()[0], 503)
        self.assertEqual(server.delta(before, "jointcap_connections_refused_total"), 1)
        for wire in wires:
            self.assertTrue(wire.alive())
            wire.__exit__()

    def test_idle_connections_are_closed(self):
        server = self.jointcap(wait="serving", workers=1, idle_timeout="100ms")
        before = server.metrics()
        with Wire(server) as wire:
            self.assertTrue(wire.ended())
        harness.wait_until(lambda: server.delta(
            before, 'jointcap_connections_closed_total{reason="idle"}') == 1, "the count")


if __name__ == "__main__":
    unittest.main()
