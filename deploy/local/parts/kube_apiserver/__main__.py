"""`python -m deploy.local.parts.kube_apiserver`: makes sure that the genuine API is compiled."""

import sys

from deploy.local.parts.child import PartError
from deploy.local.parts.kube_apiserver import binaries


def main() -> int:
    """Compile what is missing; says nothing when nothing is."""
    try:
        binaries.build(lambda line: print(f"==> kube: {line}", flush=True))
    except PartError as refused:
        print(f"kube: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
