"""Does what a page of the docs tells its reader to do, in an empty directory and with a local Omneo.

A block of code below a line that ends with "`name`:" is written to that file. Of a YAML block below a line
that begins with "Add to `name`", each part is added to what the file has. Each line of a `sh` block is run;
`# exit code 3` after a command is what it must end with. What a `text` block shows must be in the output of
the `sh` block before it, line by line in this order; `…` stands for anything. A new local Omneo is started
wherever a page starts one or names another tenant, and `listen` as a process of its own; both get free ports.
What installs something is left out.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.simulator import EXAMPLE_TRIGGERS, SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.command import call, clean_environment, start
from tests.forked import Forked

_BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)\n?```", re.S)
_LEFT_OUT = ("make ", "pip ", "python3 -m venv", "eval ", "unset ", ". ")
_TRIGGERS = SimulatorSettings(unknown_profiles="enrol", triggers=EXAMPLE_TRIGGERS)


@dataclass
class PageReader:
    """Somebody who follows pages.

    Attributes:
        home: The directory in which the commands run; the current one.
        servers: Keeps what was started until it is closed.
        omneo: The last one that was started; None before the first.
        environment: What was exported.
        webhooks: Where `listen` receives; empty before the first.
        output: Of the last block of commands.
    """

    home: Path
    servers: ExitStack
    omneo: LocalOmneo | None = None
    environment: dict[str, str] = field(default_factory=dict)
    webhooks: str = ""
    output: str = ""

    def follow(self, page: Path) -> None:
        """Do everything that a page says."""
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            kind, text = match["kind"], match["text"]
            if kind == "sh":
                self.output = "".join(self._run(line) for line in _lines(text))
            elif kind == "text":
                self._compare(text)
            else:
                self._write(match["before"].strip(), text)

    def has_a_tenant(self) -> None:
        """Set the address and the token of a new local Omneo, as a scheduler's environment has them."""
        self.environment.update(self._start().environment())

    def take_files(self, page: Path) -> None:
        """Write the files that a page shows, and do nothing else that it says."""
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            if match["kind"] != "sh":
                self._write(match["before"].strip(), match["text"])

    def _write(self, before: str, text: str) -> None:
        name = re.search(r"`([\w./-]+)`:$", before)
        if name and before.startswith("Add to"):
            self._add(self.home / name[1], text)
        elif name:
            path = self.home / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")

    def _run(self, line: str) -> str:
        command, _, remark = line.partition(" # ")
        expected = re.match(r"\s*exit code (\d+)", remark)
        if command.startswith(_LEFT_OUT):
            return ""
        if command.startswith("omneo-import simulate"):
            webhooks = self.webhooks if "--webhook-url" in command else None
            self._start(triggers="--with-triggers" in command, webhooks=webhooks)
            return ""
        if command.startswith("omneo-import listen"):
            self._listen(shlex.split(command)[1:])
            return ""
        if command.startswith("export "):
            self._export(shlex.split(command)[1:])
            return ""
        if command.startswith("omneo-import "):
            words = [word for each in shlex.split(command)[1:] for word in self._expanded(each)]
            done = call(*words, env=self.environment, answer="y\n")
            code, output = done.code, done.stdout + done.stderr
            if self.omneo:
                _process_everything(self.omneo)
        else:
            ran = subprocess.run(
                ["sh", "-c", command.replace("http://127.0.0.1:8080", self._root())],
                cwd=self.home,
                env=clean_environment(self.environment),
                capture_output=True,
                text=True,
            )
            code, output = ran.returncode, ran.stdout + ran.stderr
        assert code == int(expected[1] if expected else 0), f"{line}\n{output}"
        return output

    def _listen(self, words: list[str]) -> None:
        words[words.index("--port") + 1] = "0"
        process = start(*words, env=self.environment, cwd=self.home)
        self.servers.callback(_end, process)
        assert process.stderr is not None
        ready = process.stderr.readline()
        assert ready.startswith("Listening on "), ready + process.stderr.read()
        self.webhooks = ready.split()[-1]

    def _start(self, *, triggers: bool = False, webhooks: str | None = None) -> LocalOmneo:
        settings = replace(_TRIGGERS, triggers=_TRIGGERS.triggers if triggers else (), webhook_url=webhooks)
        # A webhook before the answer to its sale is recorded is looked at again only seconds later.
        delay_s = 60.0 if webhooks else 0.0
        self.omneo = self.servers.enter_context(local_omneo(settings, job_delay_s=delay_s))
        return self.omneo

    def _export(self, settings: list[str]) -> None:
        """Where a page names a tenant of its own, that is a new local Omneo."""
        given = dict(each.split("=", 1) for each in settings)
        if "OMNEO_TENANT" in given or ("OMNEO_BASE_URL" in given and self.omneo is None):
            self._start()
        if self.omneo and given.keys() & {"OMNEO_TENANT", "OMNEO_BASE_URL"}:
            given = {**given, "OMNEO_TENANT": "", **self.omneo.environment()}
        self.environment.update(given)

    def _root(self) -> str:
        return self.omneo.base_url.removesuffix("/api/v3") if self.omneo else ""

    def _expanded(self, word: str) -> list[str]:
        """A word as a shell would give it, where it is a pattern of files."""
        found = (
            sorted(str(path.relative_to(self.home)) for path in self.home.glob(word)) if "*" in word else []
        )
        return found or [word]

    def _compare(self, text: str) -> None:
        at = 0
        for line in text.splitlines():
            pattern = r"[^\n]*".join(map(re.escape, line.strip().split("…")))
            found = re.compile(pattern).search(self.output, at)
            assert found, f"{line!r} is not in, or not in this order in:\n{self.output}"
            at = found.end()

    def _add(self, path: Path, text: str) -> None:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        _merge(document, yaml.safe_load(text))
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _process_everything(omneo: LocalOmneo) -> None:
    """Wait until the queue is empty and all webhooks were sent."""
    omneo.drain()
    deadline = time.monotonic() + 30
    while omneo.stats()["webhooks"]["pending"]:
        assert time.monotonic() < deadline, omneo.stats()
        time.sleep(0.05)
    assert not omneo.stats()["webhooks"]["failed"]


def _end(process: Forked) -> None:
    process.terminate()
    process.communicate(timeout=30)


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#"))


def _merge(document: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            _merge(document[name], value)
        else:
            document[name] = value
