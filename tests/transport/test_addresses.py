"""Which addresses are tried first: not those whose connections failed, and never more than a few."""

from __future__ import annotations

import socket

from wire_rawsse.transport.addresses import FORGOTTEN_AFTER, MOST_ATTEMPTS, MOST_REMEMBERED, AddressMemory
from wire_rawsse.waits import Address


def v4(number: int) -> Address:
    return Address(socket.AF_INET, socket.SOCK_STREAM, 6, (f"10.0.{number // 256}.{number % 256}", 80))


def v6(number: int) -> Address:
    return Address(socket.AF_INET6, socket.SOCK_STREAM, 6, (f"fd00::{number:x}", 80, 0, 0))


def order(memory: AddressMemory, addresses: list[Address], now: float = 0.0) -> tuple[list[str], list[str]]:
    first, failed = memory.order(addresses, now)
    return names(*first), names(*failed)


def names(*addresses: Address) -> list[str]:
    return [str(address) for address in addresses]


def fail(memory: AddressMemory, *addresses: Address, now: float = 0.0) -> None:
    """One attempt that connected to these and then failed."""
    memory.begin()
    for address in addresses:
        memory.connected(address, now)
    memory.failed()


def test_an_address_that_failed_comes_last_and_one_that_worked_first_again() -> None:
    memory = AddressMemory()
    fail(memory, v6(1))
    assert order(memory, [v6(1), v6(2), v4(1)]) == (names(v6(2), v4(1)), names(v6(1)))
    memory.begin()
    memory.connected(v6(1), 0)
    memory.worked()
    assert order(memory, [v6(1), v4(1)]) == (names(v6(1), v4(1)), names())


def test_where_all_have_failed_they_take_turns() -> None:
    memory = AddressMemory()
    everyone = [v6(1), v4(1), v4(2)]
    tried = []
    for _ in range(7):
        first, failed = memory.order(everyone, 0)
        tried.append((first + failed)[0])
        fail(memory, tried[-1])
    assert tried == [*everyone, *everyone, everyone[0]]


def test_each_redirect_of_an_attempt_that_failed_counts() -> None:
    memory = AddressMemory()
    fail(memory, v4(1), v4(9))
    assert order(memory, [v4(1), v4(2)]) == (names(v4(2)), names(v4(1)))
    assert order(memory, [v4(9), v4(8)]) == (names(v4(8)), names(v4(9)))


def test_an_attempt_that_connected_nowhere_blames_nobody() -> None:
    memory = AddressMemory()
    memory.begin()
    memory.connected(v4(1), 0)
    memory.worked()
    memory.begin()
    memory.failed()
    assert order(memory, [v4(1), v4(2)]) == (names(v4(1), v4(2)), names())


def test_a_failure_is_forgotten_after_an_hour() -> None:
    memory = AddressMemory()
    fail(memory, v4(1), now=100.0)
    assert order(memory, [v4(1)], 99.0 + FORGOTTEN_AFTER) == (names(), names(v4(1)))
    assert order(memory, [v4(1)], 100.0 + FORGOTTEN_AFTER) == (names(v4(1)), names())


def test_of_thousands_a_few_are_tried_and_families_take_turns() -> None:
    memory = AddressMemory()
    first, failed = memory.order([v4(number) for number in range(4000)] + [v6(1)], 0)
    assert len(first) == MOST_ATTEMPTS and failed == []
    assert names(*first[:4]) == names(v4(0), v6(1), v4(1), v4(2))
    fail(memory, *first)
    again, failed = memory.order([v4(number) for number in range(33)], 0)
    assert names(*again) == names(v4(31), v4(32)) and len(failed) == MOST_ATTEMPTS - 2


def test_each_of_thousands_is_tried_before_any_is_tried_again() -> None:
    everyone = [v4(number) for number in range(4000)] + [v6(number) for number in range(2300)]
    memory = AddressMemory()
    tried: list[str] = []
    while len(tried) < len(everyone):
        first, failed = memory.order(everyone, 0)
        attempt = [*first, *failed][:MOST_ATTEMPTS]
        memory.set_back(attempt, 0)
        tried += names(*attempt)
    assert set(tried) == set(names(*everyone))


def test_its_size_is_bounded() -> None:
    memory = AddressMemory()
    for number in range(3 * MOST_REMEMBERED):
        fail(memory, v4(number))
    first, _ = order(memory, [v4(number) for number in range(3 * MOST_REMEMBERED)])
    assert first[0] == str(v4(0)) and len(memory._failed) == MOST_REMEMBERED
