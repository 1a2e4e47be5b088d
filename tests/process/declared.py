"""`python declared.py NAMES run ...`: atmand whose program declares external signals, named with commas between."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from atmand import compiling, in_force
from atmand.__main__ import main
from atmand.lang.program import Deployment, GeneratedProgram, generate

if __name__ == "__main__":
    names = tuple(sys.argv[1].split(","))

    def declaring(deployments: Sequence[Deployment]) -> GeneratedProgram:
        plain = generate(deployments)
        return replace(plain, manifest=replace(plain.manifest, signals=names))

    compiling.generate = in_force.generate = declaring
    sys.exit(main(sys.argv[2:]))
