"""A loop over `requests`, one session, one after another.

python requests_loop.py BODIES.jsonl URL
"""

import sys
from pathlib import Path

import requests


def main() -> None:
    path, url = sys.argv[1:]
    with requests.Session() as session, Path(path).open("rb") as bodies:
        session.headers.update({"Authorization": "Bearer benchmark", "Content-Type": "application/json"})
        for body in bodies:
            session.post(url, data=body.rstrip(b"\n"), timeout=30).raise_for_status()


if __name__ == "__main__":
    main()
