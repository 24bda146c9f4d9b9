"""Bugs of the kinds that public bug reports and hostile servers have shown in clients of event streams."""

from __future__ import annotations

from typing import Final

from tests.simulation.planting import MADE, Change, Plant, plant

REPORTS: Final[list[Plant]] = [
    plant(
        "ciphertext is received for as long as there is any",
        "transport.tls:TlsChannel._whole_piece",
        "            return ciphertext + self._receive(PIECE - FEW_BYTES)\n",
        "            while more := self._receive(PIECE):\n                ciphertext += more\n",
    ),
    plant(
        "a reception fills up with all that the socket has",
        "hosts.turns:Turns._with_rest",
        "            if len(data) < RECEIVE_BYTES:\n                data += receive.recv(RECEIVE_BYTES - len(data))\n",
        "            while more := receive.recv(RECEIVE_BYTES):\n                data += more\n",
    ),
    plant(
        "a wait that ran out is followed by the shortest delay each time",
        "policy:decide",
        "max(shortest, delay - error.seconds)",
        "shortest / 2",
    ),
    plant(
        "an idle stream that its peer ends was not healthy",
        "record:Record.ended_by_peer",
        'if self.phase == "streaming":',
        "if False:",
    ),
]
"""Found in storms."""

EXACT_REPORTS: Final[list[Plant]] = [
    Plant(
        "an address that is dead after TCP is tried first for ever",
        [Change("transport.addresses:AddressMemory.failed", "self.set_back([address], now)", "pass")],
        exact="attempts:test_an_address_that_stalls_tls_is_tried_last_the_next_time",
    ),
    Plant(
        "an address that a caller had to restart is tried first again",
        [
            Change(
                "transport.addresses:AddressMemory.failed",
                "for address, now in self._chain:",
                "for address, now in []:",
            )
        ],
        exact="attempts:test_an_address_that_a_caller_has_restarted_out_of_silence_is_tried_last",
    ),
    Plant(
        "the response budget never doubles",
        [Change("patience:Patience.ran_out", "self._now += 1", "pass")],
        exact="times:test_a_server_whose_head_comes_with_its_first_heartbeat_is_reached_each_time",
    ),
    Plant(
        "a response budget that was needed is forgotten",
        [Change("patience:Patience.answered", "max(self._needed, steps)", "0")],
        exact="times:test_a_server_whose_head_comes_with_its_first_heartbeat_is_reached_each_time",
    ),
    Plant(
        "an answer that comes before the request is sent is not read",
        [
            Change(
                "transport.channel:Channel.send",
                "            if heard is None:\n                continue\n",
                "            continue\n",
            )
        ],
        exact="requests:test_an_answer_ends_the_sending_of_its_request",
    ),
    Plant(
        "an answer that a reset follows is not read",
        [Change("transport.channel:Channel.send", "if heard is None:\n                        raise", "raise")],
        exact="requests:test_a_refusal_is_read_where_a_reset_follows_it",
    ),
    Plant(
        "TLS control records put a deadline off for ever",
        [Change("hosts.task:Task.found_nothing", "        self._doubt()\n", "")],
        exact="hosts:test_control_records_do_not_stop_the_clock_of_a_host_that_only_looks_in",
    ),
    Plant(
        "a server that ends each response after an event is backed off from",
        [Change("policy:decide", "if answered and retry_ms is not None:", "if False:")],
        exact="attempts:test_a_server_that_is_polled_is_asked_again_after_its_retry",
    ),
    Plant(
        "redirects cost no token",
        [Change("policy:TokenBucket.started", "if not (self._reserved or self._free):", "if False:")],
        exact="attempts:test_one_redirect_more_is_an_error_that_is_retried_from_the_original_url",
    ),
    Plant(
        "a 407 to a request for http is taken for the origin's",
        [
            Change(
                "connection:_follow_redirects",
                "if response.status == 407 and proxy is not None:",
                "if False:",
            )
        ],
        exact="requests:test_a_407_is_the_proxys_own_answer",
    ),
    Plant(
        "an id that was refused is sent for ever",
        [Change("resume:Resume.refused", "self._refused = request.sends_id", "pass")],
        exact="requests:test_an_id_that_is_refused_is_left_out_and_told_and_not_sent_again",
    ),
    Plant(
        "only credentials with a known name are kept from another origin",
        [
            Change(
                "protocol.redirect:fields_for",
                "(hop.credentials or name.lower() in CROSSES)",
                '(hop.credentials or name.lower() not in (b"authorization", b"cookie"))',
            )
        ],
        exact="requests:test_a_stranger_gets_no_field_that_may_hold_a_token",
    ),
    Plant(
        "an end of TLS that comes in one piece with data is overlooked",
        [Change("transport.tls:TlsChannel._with_further_records", "self._ended = not data", "pass")],
        MADE,
        exact="bodies:test_an_end_of_tls_in_one_piece_with_data_ends_the_stream",
    ),
    Plant(
        "a late host gives up in the middle of a large record",
        [Change("hosts.task:Task.found_nothing", "if self.beyond_doubt:", "if True:")],
        MADE,
        exact="hosts:test_a_late_host_takes_a_large_record_in_pieces",
    ),
]
