"""Requests byte by byte, wrong ones too."""

import http.client
import socket
from collections.abc import Mapping

import h2.connection
import h2.events
import msgspec

PATIENCE_S = 10


class Answer(msgspec.Struct, frozen=True):
    """An answer that came whole."""

    status: int
    version: int
    """10, 11 or 20."""
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes


def http1(port: int, data: bytes, method: str = "GET") -> Answer:
    """Send *data*; the first answer. *method* says whether it may have a body.

    Raises http.client.HTTPException and OSError where there is none.
    """
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as opened:
        opened.sendall(data)
        response = http.client.HTTPResponse(opened, method=method)
        response.begin()
        body = response.read()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.version, named, body)


def http2(port: int, *requests: Mapping[str, str]) -> list[Answer | None]:
    """Send requests of these headers, unchecked, at once on one connection; their answers, None where the
    stream was reset.

    Raises ConnectionResetError where the connection ends before.
    """
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    peer = h2.connection.H2Connection(config)
    peer.initiate_connection()
    numbers = range(1, 2 * len(requests), 2)
    for number, fields in zip(numbers, requests, strict=True):
        peer.send_headers(number, list(fields.items()), end_stream=True)
    named: dict[int, dict[str, str]] = {number: {} for number in numbers}
    bodies = {number: bytearray() for number in numbers}
    found: dict[int, Answer | None] = {}
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as opened:
        while len(found) < len(requests):
            opened.sendall(peer.data_to_send())
            data = opened.recv(65536)
            if not data:
                raise ConnectionResetError("the connection was closed")
            for event in peer.receive_data(data):
                match event:
                    case h2.events.ResponseReceived():
                        named[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                    case h2.events.DataReceived():
                        bodies[event.stream_id] += event.data
                        peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamReset():
                        found[event.stream_id] = None
                    case h2.events.ConnectionTerminated():
                        raise ConnectionResetError(repr(event))
                    case h2.events.StreamEnded(stream_id=number):
                        fields = named[number]
                        found[number] = Answer(int(fields[":status"]), 20, fields, bytes(bodies[number]))
    return [found[number] for number in numbers]
