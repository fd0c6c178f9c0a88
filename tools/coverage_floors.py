"""Hold the coverage of the last `make coverage` against a floor for each part of the package.

Branches and lines count alike. A floor may be raised, never lowered: what a change adds, its tests cover.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Per cent of lines and branches, by the first folder or module below owui_vault/. A whole run reaches all of these;
#: what is left to the floor are lines that only some interleavings of processes come to.
FLOORS = {
    "vault": 99.0,
    "operations": 99.0,
    "repositories": 99.0,
    "context": 99.0,
    "capture": 99.0,
    "guardian": 99.0,
    "quiesce": 99.0,
}
ELSEWHERE = 93.0


@dataclass
class Part:
    """One folder of the package, or one module at its top."""

    covered: int = 0
    total: int = 0
    missing: dict[str, list[str]] = field(default_factory=dict)

    @property
    def percent(self) -> float:
        """Covered lines and branches of a hundred."""
        return 100.0 if self.total == 0 else 100.0 * self.covered / self.total


def spans(lines: list[int]) -> list[str]:
    """[3, 4, 5, 9] as ["3-5", "9"]."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


def measured() -> dict[str, Part]:
    report = ROOT / ".cache" / "coverage.json"
    report.parent.mkdir(exist_ok=True)
    if list(ROOT.glob(".coverage.*")):
        # A process that was killed while it wrote leaves a file that cannot be read, and combine gives up if it finds
        # nothing else. If no data are there at all, the report says so.
        subprocess.run([sys.executable, "-m", "coverage", "combine", "-q", "--append"], cwd=ROOT, check=False)
    subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", report], cwd=ROOT, check=True)
    parts: dict[str, Part] = defaultdict(Part)
    for name, file in json.loads(report.read_text())["files"].items():
        summary = file["summary"]
        inside = Path(name).parts[Path(name).parts.index("owui_vault") + 1 :]
        part = parts[inside[0].removesuffix(".py")]
        part.covered += summary["covered_lines"] + summary["covered_branches"]
        part.total += summary["num_statements"] + summary["num_branches"]
        gaps = spans(file["missing_lines"])
        gaps += [f"{start}->{end}" for start, end in file["missing_branches"] if end not in file["missing_lines"]]
        if gaps:
            part.missing["/".join(inside)] = gaps
    return parts


def main() -> int:
    parts = measured()
    failed = False
    for name, part in sorted(parts.items()):
        floor = FLOORS.get(name, ELSEWHERE)
        below = part.percent < floor
        failed = failed or below
        print(f"{name:12} {part.percent:6.2f} %   floor {floor:6.2f} %{'   BELOW' if below else ''}")
        if below or floor == 100.0 or "-v" in sys.argv:
            for file, gaps in sorted(part.missing.items()):
                print(f"    {file}: {', '.join(gaps)}")
    whole = Part(covered=sum(p.covered for p in parts.values()), total=sum(p.total for p in parts.values()))
    print(f"{'all':12} {whole.percent:6.2f} %")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
