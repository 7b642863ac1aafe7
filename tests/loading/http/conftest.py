from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def authority() -> Any:
    """An authority that issues certificates; nothing trusts it unless a test says so."""
    return pytest.importorskip("trustme", reason="needs trustme for certificates").CA()
