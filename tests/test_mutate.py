"""The mutations of `make mutate`: what is changed, and that the table of tests is kept up to date."""

from __future__ import annotations

import ast

import pytest

from tests.mutate import COVERED_BY, ROOT, Finder, covered_files, covering_tests, equal_mutants, mutants_of


def test_the_table_names_what_there_is() -> None:
    assert [name for name in COVERED_BY if not (ROOT / "pipeline" / name).exists()] == []
    tests = {test for covering in COVERED_BY.values() for test in covering}
    assert [test for test in sorted(tests) if not (ROOT / test).exists()] == []


def test_a_module_s_own_tests_run_first_and_no_test_runs_twice() -> None:
    found = covering_tests("pipeline/mapping/compile/values.py")
    assert found[0] == "tests/mapping/compile/test_values.py"
    assert len(found) == len(set(found))
    assert all((ROOT / name).is_file() for name in found)


@pytest.mark.slow
def test_a_mutant_can_be_read_by_python_and_changes_something() -> None:
    some = [mutant for file in covered_files() for mutant in mutants_of(file)][::50]
    for mutant in some:
        assert mutant.before != mutant.after, mutant
        ast.parse(mutant.apply((ROOT / mutant.file).read_bytes()))


def test_mutants_that_are_listed_as_equal_can_still_be_made() -> None:
    for file in {file for file, _, _ in equal_mutants()}:
        made = {(file, each.before, each.after) for each in mutants_of(file, with_equal=True)}
        assert {each for each in equal_mutants() if each[0] == file} <= made


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a not in b", {"a in b"}),
        ("x = (a and b) or c", {"x = (a or b) or c", "x = (a and b) and c"}),
        ("if f(x): pass", {"if not (f(x)): pass"}),
        ("y = 2 + a", {"y = 3 + a", "y = 2 - a"}),
        ("'text' + a", set()),
        ("raise Error('more than 5')", {"pass"}),
        ("y = [a for a in b if a]", {"y = [a for a in b if True]"}),
        ("y = x.str.strip_chars()", {"y = (x)"}),
        ("stop()", {"pass"}),
    ],
)
def test_each_mutant_changes_one_thing(source: str, expected: set[str]) -> None:
    finder = Finder("any.py", source.encode() + b"\n")
    finder.visit(ast.parse(source))
    assert {each.after for each in finder.mutants} == expected
