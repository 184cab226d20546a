"""`python -m genlab.studies NAME [PROCESSES]`: make the runs of a study that are not stored yet."""

import sys

from genlab import studies
from genlab.text import forgive


def main(arguments: list[str]) -> int:
    """0 when all runs are stored; 2 and one line for arguments that make no sense."""
    name, *processes = arguments or [""]
    known = studies.NAMES + studies.GROWING
    if name not in known or len(processes) > 1 or not all(n.isdigit() and int(n) for n in processes):
        print(f"usage: python -m genlab.studies {{{','.join(known)}}} [PROCESSES]", file=sys.stderr)
        return 2
    studies.make(name, processes=int(processes[0]) if processes else 1)
    return 0


if __name__ == "__main__":
    forgive(sys.stdout)
    sys.exit(main(sys.argv[1:]))
