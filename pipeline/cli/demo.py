"""`make demo`: the whole way once, with the made-up sample and a local Omneo."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from pipeline.core.text.wording import count
from pipeline.mapping.language.shipped import shipped_sample
from pipeline.simulator import SimulatorSettings, running

WORKDIR = Path(".omneo-import") / "demo"
SAMPLE = "pos_lines"


def main() -> int:
    """Run the demo; the exit code is that of the first command that did not do its work.

    Each starts from an empty working directory, as its Omneo knows nothing of an earlier one, and from no
    settings of the user's.
    """
    source = os.path.relpath(shipped_sample(SAMPLE))
    if WORKDIR.exists():
        shutil.rmtree(WORKDIR)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OMNEO")}
    with running(SimulatorSettings(unknown_profiles="enrol")) as omneo:
        click.secho(f"A local Omneo listens on {omneo.base_url}", bold=True)
        environment = {**ours, **omneo.environment(), "OMNEO_IMPORT_WORKDIR": str(WORKDIR)}
        for arguments in (["run", "--mapping", SAMPLE, source], ["confirm", "latest"]):
            if code := _command(arguments, environment):
                return code
        known = omneo.stats()
    click.secho(
        f"\nOmneo now holds {count(known['transactions'], 'transaction')} "
        f"with {count(known['items'], 'item')}.",
        bold=True,
    )
    click.echo("Next: your own file, as README.md shows.")
    return 0


def _command(arguments: list[str], environment: Mapping[str, str]) -> int:
    click.secho(f"\n$ omneo-import {shlex.join(arguments)}", bold=True)
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
