"""`confirm --resend` says of how many old sales the tenant's triggers would run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.core.settings import Connection, Secret
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.simulator import EXAMPLE_TRIGGERS, SimulatorSettings
from pipeline.testing import local_omneo
from pipeline.workflows.confirm import confirm
from pipeline.workflows.load import load
from pipeline.workflows.prepare import prepare
from pipeline.workflows.tenant.open_run import ReactionsPolicy, Target
from tests.loading.tenant import QUICK
from tests.receipts import export


@pytest.mark.slow
@pytest.mark.usefixtures("without_patience")
def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    work = tmp_path / "work"
    prepare(work, "pos_lines", [str(export(tmp_path / "lines.csv", 3))])
    with local_omneo(SimulatorSettings(triggers=EXAMPLE_TRIGGERS), lost_share=1.0, job_delay_s=0) as omneo:
        target = Target(
            work, "latest", Connection(omneo.base_url, Secret(omneo.token)), DeliveryOptions(policy=QUICK)
        )
        nothing_is_old = ReactionsPolicy(historic_after=timedelta(days=36_000))
        assert load(replace(target, reactions=nothing_is_old)).exit_code == 0
        ended = confirm(target, resend=True)
    assert ended.exit_code == 3
    assert "up to 3 transactions" in str(ended.error)
