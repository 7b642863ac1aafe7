"""What the benchmarks need besides the project: an environment for the peers, tools, and made-up exports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import child

HERE = Path(__file__).parent
WORK = HERE / ".work"
PEERS = HERE / "peers"


def say(text: str) -> None:
    """Tell a person how far it is; stdout belongs to the result."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Peers:
    """The peers' own environment.

    Attributes:
        python: Its interpreter; None where it could not be made.
        versions: By name.
    """

    python: Path | None
    versions: dict[str, str]

    def command(self, script: str, *arguments: str | Path) -> list[str | Path]:
        """Run one of the peers' scripts."""
        return [str(self.python), PEERS / script, *arguments]


def peers() -> Peers:
    """The peers' environment, made or brought up to date where needed."""
    wanted = (HERE / "peers.txt").read_text()
    versions = dict(line.split("==") for line in wanted.splitlines() if "==" in line)
    home, stamp = WORK / "peers", WORK / "peers/made-from.txt"
    python = home / "bin/python"
    if not stamp.exists() or stamp.read_text() != wanted:
        say("making the peers' environment")
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "peers.txt"]
        made = subprocess.run(install, capture_output=True, text=True, check=False)
        if made.returncode:
            say(f"The peers cannot be installed, so their rows are left out:\n{made.stderr}")
            return Peers(None, {})
        stamp.write_text(wanted)
    return Peers(python, versions)


def missing_tools() -> list[str]:
    """Those of nginx and wrk that are not installed; what needs them is left out."""
    found = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    for name in found:
        package = {"nginx": "nginx-light"}.get(name, name)
        say(f"{name} is not installed, so its rows are left out (Debian: apt-get install {package}).")
    return found


def export(receipts: int, suffix: str) -> Path:
    """An export with so many receipts, made where it is not there yet."""
    path = WORK / f"pos_lines-{receipts}.{suffix}"
    if not path.exists():
        say(f"making {path.name}")
        draft = path.with_suffix(f".part.{suffix}")
        child.run(
            [child.OWN, "-m", "benchmarks.make_pos_lines", "--receipts", str(receipts), f"--{suffix}", draft]
        )
        draft.rename(path)
    return path


def export_files(receipts: int, count: int) -> Path:
    """A directory with an export of so many receipts in so many CSV files, made where it is not there yet."""
    path = WORK / f"pos_lines-{receipts}-in-{count}"
    if not path.exists():
        say(f"making {path.name}")
        draft = fresh("draft") / "files"
        size = ["--receipts", str(receipts), "--count", str(count)]
        child.run([child.OWN, "-m", "benchmarks.make_pos_lines", *size, "--files", draft])
        draft.rename(path)
    return path


def fresh(name: str) -> Path:
    """An empty directory under the work directory."""
    path = WORK / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
