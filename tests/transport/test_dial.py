"""Happy Eyeballs (RFC 8305) in virtual time, where a pace of 250 ms can be asserted to the last digit."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import pytest

from wire_rawsse.errors import ConnectTimeout, DialError
from wire_rawsse.policy import Keepalive
from wire_rawsse.transport.addresses import AddressMemory, interleaved
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial
from wire_rawsse.waits import Address, Coroutine, Wait

T = TypeVar("T")
NEVER = float("inf")


class Place(NamedTuple):
    """How an address behaves: it answers a connect `after` so many seconds, with `code` (0: connected)."""

    after: float = 0.0
    code: int = 0


class Dialled:
    """As much of a socket as dialling uses."""

    def __init__(self, world: Network, address: Address, number: int) -> None:
        self.address, self.family, self.open = address, address.family, True
        self._world, self._number, self._place = world, number, world.places[str(address)]
        self.answers_at = NEVER

    def fileno(self) -> int:
        return self._number if self.open else -1

    def setsockopt(self, level: int, option: int, value: int) -> None: ...

    def connect_ex(self, sockaddr: Any) -> int:
        self._world.dialled.append((self._world.clock, str(self.address)))
        self.answers_at = self._world.clock + self._place.after
        return errno.EINPROGRESS if self._place.after else self._place.code

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self._place.code

    def close(self) -> None:
        self.open = False


class Network:
    """The services that a coroutine which dials asks for, and the host that runs it. Time is a number."""

    def __init__(self, places: dict[str, Place]) -> None:
        self.places = places
        self.clock = 1000.0
        self.dialled: list[tuple[float, str]] = []
        """When which address was tried."""
        self._sockets: list[Dialled] = []

    def now(self) -> float:
        return self.clock

    def open(self, address: Address) -> socket.socket:
        self._sockets.append(Dialled(self, address, 1000 + len(self._sockets)))
        return cast(socket.socket, self._sockets[-1])

    def release(self, sock: socket.socket) -> None:
        sock.close()

    def held(self) -> list[str]:
        """The addresses of the sockets that were not released."""
        return [str(sock.address) for sock in self._sockets if sock.open]

    def run(self, start: Callable[[Any], Coroutine[T]]) -> T:
        """The coroutine's value, or what it raises; `clock` says when."""
        coroutine, given = start(self), None
        while True:
            try:
                step: Any = coroutine.send(given)
            except StopIteration as end:
                return cast(T, end.value)
            assert type(step) is Wait
            known = {sock.fileno(): sock.answers_at for sock in self._sockets if sock.fileno() in step.interest}
            self.clock = max(self.clock, min([step.deadline, *known.values()]))
            given = tuple(fd for fd, moment in known.items() if moment <= self.clock) or None


DEAD = Place(after=NEVER)
REFUSED = Place(after=0.01, code=errno.ECONNREFUSED)


def v4(number: int) -> Address:
    return Address(socket.AF_INET, socket.SOCK_STREAM, 6, (f"10.0.0.{number}", 80))


def v6(number: int) -> Address:
    return Address(socket.AF_INET6, socket.SOCK_STREAM, 6, (f"fd00::{number}", 80, 0, 0))


def race(places: dict[Address, Place], connect: float = 10.0) -> tuple[Network, str]:
    """The world after dialling these addresses, and which of them won."""
    services = Network({str(address): place for address, place in places.items()})

    def start(services: Any) -> Coroutine[socket.socket]:
        return dial(services, list(places), Deadline(services.now(), connect, "the relay"), Keepalive())

    try:
        winner = services.run(start)
    except BaseException:
        assert services.held() == []
        raise
    held = services.held()
    assert len(held) == 1, "a loser of the race was not given back"
    assert winner.fileno() >= 0
    return services, held[0]


def fails(places: dict[Address, Place], connect: float = 10.0) -> tuple[Network, Exception]:
    services = Network({str(address): place for address, place in places.items()})
    with pytest.raises((DialError, ConnectTimeout)) as failed:
        services.run(
            lambda services: dial(services, list(places), Deadline(services.now(), connect, "the relay"), Keepalive())
        )
    assert services.held() == []
    return services, failed.value


def started(services: Network) -> list[tuple[float, str]]:
    return [(round(moment - 1000, 6), place) for moment, place in services.dialled]


class TestOrder:
    def test_families_take_turns(self) -> None:
        """RFC 8305 §4, beginning with the family of the first address, each family in its own order."""
        addresses = [v6(1), v6(2), v6(3), v4(1), v4(2)]
        assert [str(one) for one in interleaved(addresses)] == [
            *("[fd00::1]:80", "10.0.0.1:80", "[fd00::2]:80", "10.0.0.2:80", "[fd00::3]:80")
        ]
        assert [str(one) for one in interleaved([v4(1), v4(2), v6(1)])] == [
            "10.0.0.1:80",
            "[fd00::1]:80",
            "10.0.0.2:80",
        ]
        assert interleaved([]) == []

    def test_one_address_that_answers_is_the_only_one_tried(self) -> None:
        services, winner = race({v6(1): Place(after=0.1), v4(1): Place()})
        assert winner == "[fd00::1]:80"
        assert started(services) == [(0.0, "[fd00::1]:80")]
        assert services.clock == 1000.1

    def test_an_address_that_connects_at_once(self) -> None:
        services, winner = race({v4(1): Place()})
        assert (winner, services.clock) == ("10.0.0.1:80", 1000.0)


class TestPace:
    def test_the_next_starts_after_250_ms_of_silence(self) -> None:
        services, winner = race({v6(1): DEAD, v4(1): Place(after=0.05)})
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "[fd00::1]:80"), (0.25, "10.0.0.1:80")]
        assert services.clock == pytest.approx(1000.3)

    def test_one_after_the_other_and_all_at_the_same_time(self) -> None:
        services, winner = race({v6(1): DEAD, v6(2): DEAD, v4(1): DEAD, v4(2): Place(after=0.1)})
        assert winner == "10.0.0.2:80"
        assert started(services) == [
            *((0.0, "[fd00::1]:80"), (0.25, "10.0.0.1:80"), (0.5, "[fd00::2]:80"), (0.75, "10.0.0.2:80"))
        ]
        assert services.clock == pytest.approx(1000.85)

    def test_one_that_is_slow_may_still_win(self) -> None:
        services, winner = race({v6(1): Place(after=0.4), v4(1): Place(after=0.3)})
        assert winner == "[fd00::1]:80"
        assert started(services) == [(0.0, "[fd00::1]:80"), (0.25, "10.0.0.1:80")]
        assert services.clock == 1000.4

    def test_the_next_starts_at_once_where_one_fails(self) -> None:
        services, winner = race({v6(1): REFUSED, v4(1): Place(after=0.05)})
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "[fd00::1]:80"), (0.01, "10.0.0.1:80")]

    def test_the_next_starts_at_once_where_one_fails_at_once(self) -> None:
        services, winner = race({v6(1): Place(code=errno.ENETUNREACH), v4(1): Place(code=errno.EACCES), v4(2): Place()})
        assert winner == "10.0.0.2:80"
        assert [moment for moment, _ in started(services)] == [0.0, 0.0, 0.0]

    def test_a_late_failure_holds_nothing_back(self) -> None:
        """The one that fails is not the last that was started; the next need not wait for its turn."""
        places = {v6(1): Place(after=0.3, code=errno.ECONNREFUSED), v4(1): DEAD, v6(2): Place(after=0.1)}
        services, winner = race(places)
        assert winner == "[fd00::2]:80"
        assert started(services) == [(0.0, "[fd00::1]:80"), (0.25, "10.0.0.1:80"), (0.3, "[fd00::2]:80")]


class TestFailure:
    def test_every_attempt_is_told_in_its_order(self) -> None:
        services, error = fails({v6(1): REFUSED, v4(1): Place(after=0.01, code=errno.EHOSTUNREACH), v6(2): REFUSED})
        assert isinstance(error, DialError)
        assert [(place, cause.errno) for place, cause in error.attempts] == [
            ("[fd00::1]:80", errno.ECONNREFUSED),
            ("10.0.0.1:80", errno.EHOSTUNREACH),
            ("[fd00::2]:80", errno.ECONNREFUSED),
        ]
        for place, cause in error.attempts:
            assert place in str(error) and str(cause.strerror) in str(error)
        assert "the relay" in str(error)
        assert services.clock == pytest.approx(1000.03)
        assert isinstance(error, ConnectionError) and not error.permanent

    def test_no_address_at_all(self) -> None:
        _, error = fails({})
        assert isinstance(error, DialError) and error.attempts == ()
        assert "no address" in str(error)

    def test_the_budget_covers_all_attempts_together(self) -> None:
        services, error = fails({v6(1): DEAD, v4(1): DEAD, v6(2): REFUSED, v4(2): DEAD}, connect=3.0)
        assert isinstance(error, ConnectTimeout)
        assert services.clock == 1003.0
        assert (error.clock, error.seconds, error.phase) == ("connect", 3.0, "connecting")
        for place in ("[fd00::1]:80", "10.0.0.1:80", "[fd00::2]:80", "10.0.0.2:80"):
            assert place in str(error)
        assert "connect=3 s" in str(error)

    def test_a_budget_shorter_than_the_pace(self) -> None:
        services, error = fails({v6(1): DEAD, v4(1): Place()}, connect=0.1)
        assert isinstance(error, ConnectTimeout)
        assert (services.clock, len(services.dialled)) == (1000.1, 1)

    def test_a_budget_that_is_used_up_already_tries_once(self) -> None:
        _, winner = race({v4(1): Place()}, connect=0.0)
        assert winner == "10.0.0.1:80"

    def test_a_socket_that_cannot_be_had(self) -> None:
        """EMFILE, or a family that the system lacks: an attempt that failed, like any other."""

        class Short(Network):
            def open(self, address: Address) -> socket.socket:
                if address.family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "no such family")
                return super().open(address)

        services = Short({"10.0.0.1:80": Place()})
        services.run(lambda services: dial(services, [v6(1), v4(1)], Deadline(services.now(), 1, "x"), Keepalive()))
        assert services.held() == ["10.0.0.1:80"]


class TestMemory:
    """An address that failed after TCP is tried last, and later than a race would: a dead address may accept TCP
    quickly.
    """

    @staticmethod
    def race(places: dict[Address, Place], *failed: Address, connect: float = 10.0) -> tuple[Network, str]:
        services = Network({str(address): place for address, place in places.items()})
        memory = AddressMemory()
        for address in failed:
            memory.set_back([address], services.now())
        budget = Deadline(services.now(), connect, "the relay")
        services.run(lambda services: dial(services, list(places), budget, Keepalive(), memory))
        [winner] = services.held()
        assert str(memory.current) == winner
        return services, winner

    def test_the_others_come_first(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): Place(after=0.1)}, v6(1))
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "10.0.0.1:80")]

    def test_one_that_failed_does_not_win_by_being_near(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): Place(after=2.4)}, v6(1))
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "10.0.0.1:80")]

    def test_it_is_tried_where_the_others_are_silent(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): DEAD}, v6(1))
        assert winner == "[fd00::1]:80"
        assert started(services) == [(0.0, "10.0.0.1:80"), (2.5, "[fd00::1]:80")]

    def test_it_is_tried_at_once_where_the_others_are_refused(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): REFUSED}, v6(1))
        assert winner == "[fd00::1]:80"
        assert started(services) == [(0.0, "10.0.0.1:80"), (0.01, "[fd00::1]:80")]

    def test_but_not_while_one_of_them_may_still_answer(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): Place(after=1.0), v4(2): REFUSED}, v6(1))
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "10.0.0.1:80"), (0.25, "10.0.0.2:80")]

    def test_where_all_have_failed_the_oldest_failure_has_the_first_chance(self) -> None:
        services, winner = self.race({v6(1): Place(), v4(1): Place(after=1.0)}, v4(1), v6(1))
        assert winner == "10.0.0.1:80"
        assert started(services) == [(0.0, "10.0.0.1:80")]

    def test_of_very_many_addresses_others_are_tried_next_time(self) -> None:
        """And the text names a few of them, `attempts` all that were tried."""
        places = {v4(number): REFUSED for number in range(1, 101)}
        services = Network({str(address): place for address, place in places.items()})
        memory = AddressMemory()
        for _ in range(4):
            with pytest.raises(DialError) as failed:
                services.run(
                    lambda services: dial(
                        services, list(places), Deadline(services.now(), 10, "x"), Keepalive(), memory
                    )
                )
        assert len(services.dialled) == 128
        assert len({place for _, place in services.dialled}) == 100
        assert len(failed.value.attempts) == 32
        text = str(failed.value)
        assert "… and 28 more (32 of 100 addresses tried)" in text and len(text) < 400

    def test_nor_are_those_that_a_short_budget_never_reached_left_out_for_ever(self) -> None:
        places = {v4(1): DEAD, v4(2): DEAD, v4(3): DEAD, v4(4): Place(after=0.01)}
        services = Network({str(address): place for address, place in places.items()})
        memory = AddressMemory()
        with pytest.raises(ConnectTimeout, match="2 of 4 addresses tried"):
            services.run(
                lambda services: dial(services, list(places), Deadline(services.now(), 0.4, "x"), Keepalive(), memory)
            )
        services.run(
            lambda services: dial(services, list(places), Deadline(services.now(), 0.4, "x"), Keepalive(), memory)
        )
        assert services.held() == ["10.0.0.4:80"]


def test_closing_in_the_middle_gives_every_socket_back() -> None:
    services = Network({str(v6(1)): DEAD, str(v4(1)): DEAD})
    racing = dial(cast(Any, services), [v6(1), v4(1)], Deadline(services.now(), 10, "x"), Keepalive())
    racing.send(None)
    services.clock += 0.25
    racing.send(None)
    assert len(services.held()) == 2
    racing.close()
    assert services.held() == []
