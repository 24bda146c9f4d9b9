"""The README's picture of the phases, drawn from the table: `python -m tests.phases_picture`."""

from __future__ import annotations

from wire_rawsse.phases import PHASES


def picture() -> str:
    """The phase table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    for phase in PHASES.values():
        name = phase.name.replace(" ", "_")
        clock = f" ({phase.clock})" if phase.clock else ""
        lines.append(f"    {name}: {phase.name}{clock}")
        lines += [f"    {name} --> {then.replace(' ', '_')}" for then in phase.then if then != "closed"]
    lines += ["    note right of closed: from anywhere, by close()"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(picture())
