"""Every case is pickled here, then loaded and used in an interpreter that has only the standard library."""

from __future__ import annotations

import pickletools
from functools import cache

import cases_classes
import cases_functions
import cases_idioms_classes
import cases_idioms_corners
import cases_idioms_functions
import cases_idioms_members
import cases_idioms_typing
import cases_idioms_values
import cases_newer
import cases_odd
import cases_values
import pytest
from fresh import Case, build, run_cases

from rudf import pickle as rudf_pickle

CASES: dict[str, Case] = {
    **cases_functions.CASES,
    **cases_classes.CASES,
    **cases_values.CASES,
    **cases_newer.CASES,
    **cases_odd.CASES,
    **cases_idioms_classes.CASES,
    **cases_idioms_corners.CASES,
    **cases_idioms_functions.CASES,
    **cases_idioms_members.CASES,
    **cases_idioms_typing.CASES,
    **cases_idioms_values.CASES,
}
OLD_PROTOCOLS = (2, 3, 4)


@cache
def outcomes(protocol: int | None) -> dict[str, str | None]:
    """The outcome of all cases, from one child process."""
    return run_cases(CASES, protocol)


@pytest.mark.parametrize("name", CASES)
def test_case_works_in_a_fresh_interpreter(name: str) -> None:
    failure = outcomes(None)[name]
    assert failure is None, failure


@pytest.mark.parametrize("protocol", OLD_PROTOCOLS)
def test_cases_work_with_older_protocols(protocol: int) -> None:
    failures = {name: failure for name, failure in outcomes(protocol).items() if failure}
    assert not failures, "\n".join(f"{name}: {failure}" for name, failure in failures.items())


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("deep_")])
def test_stream_is_well_formed(name: str) -> None:
    payload = rudf_pickle.dumps(build(CASES[name].source))
    *_, last = pickletools.genops(payload)
    assert last[0].name == "STOP"
