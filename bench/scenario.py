"""One scenario of `wake`: all clients connected at once, one sender, one link, http or https. Its own process.

    python -m bench.scenario '{"link": "loopback", "tls": false, "clients": […], "passes": n, "bursts": n, …}'

Every client is a process of its own; the sender gives each event to ONE of them, so that nobody waits for a
core that another client's work holds, and each is asleep, cold, when its turn comes, as a daemon is in life.
Standard output: lines `progress DONE TOTAL`, then one JSON line with the stamps of both sides. It is a process of its
own so that a link of its own needs no more than `unshare` in front (`space` has the rest).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import roster, space
from bench.limits import limit

LOOPBACK = "127.0.0.1"
LOOPBACKS = tuple(f"127.0.0.{last}" for last in range(1, 5))
"""Several addresses, so that 10,000 connections are far from exhausting the ports of one."""
READY_SECONDS = 30.0
REPORT_SECONDS = 20.0
SEND_SECONDS = 60.0
"""More than a plan takes beyond its gaps, on a machine that has other things to do."""
SETTLE_SECONDS = 0.5
BURST = 10


@dataclass(frozen=True)
class Plan:
    """The plan of one scenario. A pass gives one event to each client in a new random order; `bursts` passes follow, of
    ten events each. `warmup` passes come before both and are left out of every figure."""

    link: str
    tls: bool
    clients: list[str]
    passes: int
    bursts: int
    warmup: int
    gap_ms: tuple[float, float]
    burst_gap_ms: tuple[float, float]
    seed: int
    handover: str = roster.EVENTFD

    def order(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """The steps (client, events) of the single events, warm-up first, and of the bursts."""
        dice = random.Random(self.seed)
        singles: list[tuple[str, int]] = []
        bursts: list[tuple[str, int]] = []
        for steps, passes, events in ((singles, self.warmup + self.passes, 1), (bursts, self.bursts, BURST)):
            for _ in range(passes):
                names = dice.sample(self.clients, len(self.clients))
                if steps and names[0] == steps[-1][0]:
                    # Nobody twice in a row: its second event would find it warm.
                    names.append(names.pop(0))
                steps.extend((name, events) for name in names)
        return singles, bursts


@dataclass
class Outcome:
    """The record of one client: its kind and stamps, what it was sent and when, or why it has no figures."""

    kind: str = ""
    reason: str = ""
    wakes: list[tuple[int, int]] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)
    bursts: list[list[int]] = field(default_factory=list)


class Child:
    """One client process, its standard output read by a thread, so that a client that hangs hangs nobody else."""

    def __init__(self, client: roster.Client, argv: list[str], environ: dict[str, str] | None = None) -> None:
        self.client = client
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        )
        self.ready = threading.Event()
        self.connected = False
        self.report: dict[str, Any] = {}
        self.complaint = ""
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._read_report, self._read_errors)]
        for thread in self.threads:
            thread.start()

    def _read_report(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "connected\n":
                self.connected = True
                self.ready.set()
            elif line.startswith("{"):
                self.report = json.loads(line)
        self.ready.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.complaint = line.strip() or self.complaint

    def stop(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if self.client.stop == "signal" and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def finish(self) -> None:
        """Wait for the report; a client that gives none is ended."""
        try:
            self.process.wait(REPORT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self.threads:
            thread.join(REPORT_SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def reason(self) -> str:
        """Why there are no figures: the client's own words, its last line of standard error, or its exit status."""
        said = self.report.get("unavailable") or self.report.get("failed") or self.complaint
        return str(said or f"gave no report (exit status {self.process.returncode})")


def certificates(folder: Path) -> tuple[str, str, str]:
    """Paths of a CA file, and of a certificate and key for every address that the bench uses."""
    import trustme

    authority = trustme.CA()
    leaf = authority.issue_cert(*LOOPBACKS, space.OUTSIDE, space.INSIDE, "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(folder / "certificate.pem", append=number > 0)
    return str(folder / "ca.pem"), str(folder / "certificate.pem"), str(folder / "key.pem")


def start_sender(link: str, tls: tuple[str, str] | None) -> tuple[subprocess.Popen[str], str, int]:
    """The sender, its address and port; for `veth` in a network namespace of its own, joined to ours. Raises
    `OSError`.
    """
    address = space.OUTSIDE if link == "veth" else LOOPBACK
    argv = [sys.executable, "-m", "bench.sender", address, *(["--tls", *tls] if tls else [])]
    if link == "veth":
        sender = space.beside(argv)
    else:
        sender = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    with limit(sender, READY_SECONDS):
        said = sender.stdout.readline().split()
    if len(said) != 2:
        raise OSError("the sender did not start")
    return sender, address, int(said[1])


def end_sender(sender: subprocess.Popen[str]) -> None:
    """It holds nothing that is still wanted, and in the middle of a plan it would not hear that its input ended."""
    assert sender.stdin is not None and sender.stdout is not None
    sender.terminate()
    try:
        sender.wait(REPORT_SECONDS)
    except subprocess.TimeoutExpired:
        sender.kill()
        sender.wait()
    sender.stdin.close()
    sender.stdout.close()


class Scenario:
    """Runs one plan. `quiet` keeps its progress off standard output."""

    def __init__(self, plan: Plan, *, quiet: bool = False) -> None:
        self.plan = plan
        self.quiet = quiet
        self.outcomes = {name: Outcome() for name in plan.clients}
        self.done = 0

    def run(self, folder: Path) -> dict[str, Outcome]:
        plan = self.plan
        ca, certificate, key = certificates(folder) if plan.tls else (None, "", "")
        sender, address, port = start_sender(plan.link, (certificate, key) if plan.tls else None)
        children: list[Child] = []
        try:
            for name in plan.clients:
                url = f"{'https' if plan.tls else 'http'}://{address}:{port}/{name}"
                try:
                    client = roster.BY_NAME[name]
                    environ = {**os.environ, roster.HANDOVER_CHOICE: client.handover or plan.handover}
                    children.append(Child(client, roster.command(client, url, ca), environ))
                except (roster.Unavailable, OSError) as error:
                    self.outcomes[name].reason = str(error)
            deadline = time.monotonic() + READY_SECONDS
            for child in children:
                child.ready.wait(max(0.0, deadline - time.monotonic()))
            live = [child for child in children if child.connected]
            names = {child.client.name for child in live}
            singles, bursts = ([step for step in steps if step[0] in names] for steps in plan.order())
            total = len(singles) + len(bursts)
            for steps, gap in ((singles, plan.gap_ms), (bursts, plan.burst_gap_ms)):
                for (name, events), sent in zip(steps, self.send(sender, steps, gap, total), strict=True):
                    if events == 1:
                        self.outcomes[name].singles.extend(sent)
                    else:
                        self.outcomes[name].bursts.append(sent)
            time.sleep(SETTLE_SECONDS)
            for child in live:
                child.stop()
            # One more event for a main thread that a signal alone cannot reach.
            self.send(sender, [(child.client.name, 1) for child in live], (0, 0), total)
        finally:
            for child in children:
                child.stop()
                child.finish()
            end_sender(sender)
        for child in children:
            outcome = self.outcomes[child.client.name]
            if "wakes" in child.report:
                outcome.kind = child.report["kind"]
                outcome.wakes = [(n, stamp) for n, stamp in child.report["wakes"]]
            else:
                outcome.reason = child.reason()
            outcome.singles = outcome.singles[plan.warmup :]
        return self.outcomes

    def send(
        self,
        sender: subprocess.Popen[str],
        steps: list[tuple[str, int]],
        gap: tuple[float, float],
        total: int,
        what: str = "event",
    ) -> list[list[int]]:
        """Have the sender carry out `steps`; gives the stamps of each."""
        assert sender.stdin is not None and sender.stdout is not None
        sender.stdin.write(json.dumps({"order": steps, "gap_ms": gap, "seed": self.plan.seed, "what": what}) + "\n")
        sender.stdin.flush()
        with limit(sender, SEND_SECONDS + len(steps) * gap[1] / 1000):
            for line in sender.stdout:
                word, _, rest = line.partition(" ")
                if word == "progress" and not self.quiet:
                    print(f"progress {min(total, self.done + int(rest))} {total}", flush=True)
                elif line.startswith("{"):
                    self.done += len(steps)
                    sent: list[list[int]] = json.loads(line)["sent"]
                    return sent
        raise RuntimeError("the sender ended in the middle of its plan")


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Scenario(plan).run(Path(folder))
    print(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}))


if __name__ == "__main__":
    main()
