"""Whether an exercise is ready for readers: `python -m genlab.exercises 04.9`, a chapter `04`, or a path."""

import sys
from pathlib import Path

from genlab.exercises import authoring
from genlab.text import forgive


def main(targets: list[str]) -> int:
    """Print one line a check; 1 when anything is missing, 2 without a target."""
    if not targets or set(targets) & {"-h", "--help"}:
        print(__doc__)
        return 0 if targets else 2
    faults = 0
    for target in targets:
        try:
            for path in authoring.files(target):
                print(f"\n{path}")
                for finding in authoring.findings(path, Path("notebooks")):
                    print(f"  {finding}", flush=True)
                    faults += finding.good is False
        except ValueError as error:
            print(f"  ✗ {error}")
            faults += 1
    print(f"\n{'nothing is missing' if not faults else f'{faults} to mend'}")
    return 1 if faults else 0


if __name__ == "__main__":
    forgive(sys.stdout)
    raise SystemExit(main(sys.argv[1:]))
