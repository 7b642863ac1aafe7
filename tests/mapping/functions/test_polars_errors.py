"""What is said of an error of polars: never a cell."""

from __future__ import annotations

import pytest

from pipeline.mapping.functions.polars_errors import error_summary


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("failed in column 'mail' for 1 out of 2 values: [ann@x.com]"), "failed"),
        (ValueError("cannot parse 3 for 1 out of 2"), "cannot parse 3"),
        (ValueError('the day isn\'t there: "ann"'), "the day isn't there"),
        (ValueError("wrong 'ann'"), "wrong"),
        (ValueError("\n  first: \nsecond"), "first"),
        (ValueError(" (["), "ValueError"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_words_before_any_cell(error: Exception, said: str) -> None:
    assert error_summary(error) == said
