"""Change one thing in the core at a time and see whether the tests that cover it fail.

    python -m tests.mutate --count 60 --seed 7 --only loading/ledger

Each mutant is one small change of a source file: another comparison, a condition turned round, a number plus
one, a call left out. It is made in a copy of the repository, and the tests of `COVERED_BY` are run there. A
mutant that no test notices is printed as a diff: either a test is missing, or the code does nothing, or both
versions do the same. Those of the last kind are listed in `equal_mutants.toml`, each with the reason.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
EQUAL_MUTANTS = Path(__file__).with_name("equal_mutants.toml")

ROW_ACCOUNTING = "tests/workflows/preparation/test_row_accounting.py"
DELIVERIES = (
    *("tests/loading/delivery/test_decisions.py", "tests/loading/delivery/test_loader.py"),
    *("tests/loading/delivery/test_false_answers.py", "tests/loading/delivery/test_histories.py"),
    *("tests/loading/delivery/test_faults.py", "tests/loading/test_void.py"),
)
COVERED_BY: dict[str, tuple[str, ...]] = {
    "mapping/functions": ("tests/mapping",),
    "mapping/compile": ("tests/mapping/compile", "tests/mapping"),
    "mapping/layout": (
        "tests/mapping/layout",
        "tests/mapping",
        ROW_ACCOUNTING,
    ),
    "validation/anomalies": ("tests/validation/anomalies", "tests/report"),
    "validation": ("tests/validation", ROW_ACCOUNTING, "tests/report"),
    "staging/partitions": ("tests/staging/partitions", "tests/workflows/test_prepare.py"),
    "staging/payloads.py": ("tests/mapping/test_pos_lines.py",),
    "loading/ledger": ("tests/loading/ledger", *DELIVERIES, "tests/loading/confirm"),
    "loading/delivery/circuit_breaker.py": DELIVERIES,
    "loading/delivery/decisions.py": (*DELIVERIES, "tests/loading/confirm"),
    "loading/delivery/tracker.py": (*DELIVERIES, "tests/loading/confirm"),
    "loading/confirm/same_sale.py": ("tests/loading/confirm",),
    "loading/confirm/confirm_run.py": ("tests/loading/confirm", "tests/loading/test_void.py"),
    "loading/confirm/estimate.py": ("tests/loading/confirm",),
    "loading/http/answers.py": ("tests/loading/http", *DELIVERIES),
    "loading/http/batches.py": ("tests/loading/http", *DELIVERIES),
    "loading/http/retry_policy.py": ("tests/loading/http", *DELIVERIES),
}
"""Which tests cover which part of the package, besides those that are named as the module.

They run in this order until one fails, first those that are not slow, so the quickest come first.
"""

IGNORED_FILES = ("__init__.py", "message_text.py", "migration.py")
"""Files of words, and the migration of old ledgers, which is tested with whole ledgers of old versions."""

COMPARISONS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "in": "not in",
    "not in": "in",
    "is": "is not",
    "is not": "is",
}
OPERATORS = {"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "*", "&": "|", "|": "&"}
NAMES = {
    "any": "all",
    "all": "any",
    "min": "max",
    "max": "min",
    "any_horizontal": "all_horizontal",
    "all_horizontal": "any_horizontal",
    "starts_with": "ends_with",
    "ends_with": "starts_with",
    "first": "last",
    "last": "first",
    "is_null": "is_not_null",
    "is_not_null": "is_null",
    "head": "tail",
    "tail": "head",
}
LEFT_OUT = {
    *("filter", "fill_null", "drop_nulls", "unique", "sort", "strip", "strip_chars", "lower", "casefold"),
    *("to_lowercase", "round", "abs", "reverse", "over", "head"),
}
"""Methods whose call may be left out: what is left has the same type."""
SAFEGUARDS = ("strict", "frozen", "slots", "nullable", "is_elementwise")
"""Arguments of `zip` and casts, of dataclasses and of columns: no right program does what they forbid.

And what tells polars that it may compute a column in parts, which gives the same cells."""


@dataclass(frozen=True)
class Mutant:
    """One change of one source file.

    Attributes:
        file: The file, from the root of the repository.
        line: The line where the change begins.
        start: The offset in bytes of what is replaced.
        end: The offset of the first byte after it.
        text: What it is replaced by.
        before: The lines that are changed, as one line of text.
        after: What becomes of them.
    """

    file: str
    line: int
    start: int
    end: int
    text: str
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def _one_line(source: bytes) -> str:
    return re.sub(r"\s+", " ", source.decode()).strip()


class Finder(ast.NodeVisitor):
    """Finds everything in a source file that can be changed."""

    def __init__(self, file: str, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._file = file
        self._source = source
        self._line_starts = [0, *(at.end() for at in re.finditer(rb"\n", source))]
        self._modules: set[str] = set()
        self._function_depth = 0

    # ── Offsets ──────────────────────────────────────────────────────────────────────────────────────

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._line_starts[node.lineno - 1] + node.col_offset
        return start, self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _add(self, start: int, end: int, text: str) -> None:
        source = self._source
        first, last = source.rfind(b"\n", 0, start) + 1, source.find(b"\n", end)
        self.mutants.append(
            Mutant(
                file=self._file,
                line=source.count(b"\n", 0, start) + 1,
                start=start,
                end=end,
                text=text,
                before=_one_line(source[first:last]),
                after=_one_line(source[first:start] + text.encode() + source[end:last]),
            )
        )

    def _replace(self, node: ast.expr | ast.stmt, text: str) -> None:
        self._add(*self._span(node), text)

    def _replace_between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """Replace an operator that stands between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        pattern = r"\s+".join(map(re.escape, old.split())).encode()
        if found := re.search(pattern, self._source[start:end]):
            self._add(start + found.start(), start + found.end(), new)

    # ── What is not changed ──────────────────────────────────────────────────────────────────────────

    def visit_Import(self, node: ast.Import) -> None:
        self._modules |= {(each.asname or each.name).split(".")[0] for each in node.names}

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A message; its parts are not visited."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in SAFEGUARDS:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """An annotation; it is not visited."""

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._function_depth += 1
        for each in [*node.args.defaults, *node.args.kw_defaults, *node.body]:
            if each is not None:
                self.visit(each)
        self._function_depth -= 1

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    # ── What is changed ──────────────────────────────────────────────────────────────────────────────

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            old = _COMPARISON_TEXTS[type(operator)]
            self._replace_between(left, right, old, COMPARISONS[old])
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._replace_between(left, right, old, new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        old = _OPERATOR_TEXTS.get(type(node.op))
        texts = any(isinstance(each, ast.JoinedStr) or _is_text(each) for each in (node.left, node.right))
        # Outside of functions, `|` joins types.
        if old is not None and not texts and (self._function_depth or old != "|"):
            self._replace_between(node.left, node.right, old, OPERATORS[old])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.Invert):
            self._replace(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self._replace(node, repr(node.value + 1))

    def _visit_condition(self, node: ast.If | ast.IfExp | ast.While) -> None:
        if self._text(node.test) == "TYPE_CHECKING":
            return
        # Comparisons and `not` have a change of their own that does the same.
        if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            self._replace(node.test, f"not ({self._text(node.test)})")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._visit_condition(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._visit_condition(node)

    def visit_While(self, node: ast.While) -> None:
        self._visit_condition(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for each in node.ifs:
            self._replace(each, "True")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call | ast.Await):
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        end = self._span(function)[1]
        if name in NAMES and (isinstance(function, ast.Name) or name not in ("any", "all")):
            self._add(end - len(name), end, NAMES[name])
        if isinstance(function, ast.Attribute) and name in LEFT_OUT:
            kept = function.value
            if isinstance(kept, ast.Attribute) and kept.attr in ("str", "dt", "list", "struct"):
                kept = kept.value
            if not (isinstance(kept, ast.Name) and kept.id in self._modules):
                self._replace(node, f"({self._text(kept)})")
        self.generic_visit(node)


_COMPARISON_TEXTS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}
_OPERATOR_TEXTS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def covered_files() -> list[str]:
    """The files that are mutated."""
    found = []
    for name in COVERED_BY:
        covered = ROOT / "pipeline" / name
        found += [covered] if covered.is_file() else sorted(covered.rglob("*.py"))
    # A folder may have tests of its own besides those of the folder around it.
    named = dict.fromkeys(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in named if Path(name).name not in IGNORED_FILES]


def mutants_of(file: str, *, with_equal: bool = False) -> list[Mutant]:
    """All mutants of a file, in the order of its lines; by default without those that are listed as equal."""
    source = (ROOT / file).read_bytes()
    finder = Finder(file, source)
    finder.visit(ast.parse(source))
    equal = set() if with_equal else equal_mutants()
    return sorted(
        (each for each in finder.mutants if (file, each.before, each.after) not in equal),
        key=lambda each: each.start,
    )


def equal_mutants() -> set[tuple[str, str, str]]:
    """What is listed as equal: file, lines before and lines after."""
    listed = tomllib.loads(EQUAL_MUTANTS.read_text(encoding="utf-8")).get("equal", [])
    return {(each["file"], each["before"], each["after"]) for each in listed}


_PASSED_OR_FAILED = (0, 1, 2, 3)
"""Exit codes of pytest; 2 and 3 stand for a module that cannot be imported. With others no test was run."""
_NONE_HAS_THE_MARKS = 5


class Copy:
    """A copy of the repository in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)

    def attempt(self, mutant: Mutant, timeout_s: float) -> str | None:
        """Run the tests with this mutant; gives how they ended, or None where all passed."""
        source = (self._folder / mutant.file).read_bytes()
        self._write(mutant.file, mutant.apply(source))
        tests = covering_tests(mutant.file)
        try:
            return self.failure("not slow", tests, timeout_s) or self.failure("slow", tests, timeout_s)
        finally:
            self._write(mutant.file, source)

    def failure(self, marks: str, tests: Sequence[str], timeout_s: float) -> str | None:
        """The first test with these marks that fails; None where all pass in the time allowed."""
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-m", marks, *tests]
        environment = os.environ | {"PYTHONPATH": str(self._folder)}
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "the tests did not end"
        if done.returncode == _NONE_HAS_THE_MARKS:
            return None
        if done.returncode not in _PASSED_OR_FAILED:
            raise RuntimeError(done.stdout + done.stderr)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        return None if done.returncode == 0 else failed[1] if failed else "the tests could not start"

    def _write(self, file: str, source: bytes) -> None:
        path = self._folder / file
        path.write_bytes(source)
        # Python knows a changed file by its size and second, which may be the same for two mutants.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def covering_tests(file: str) -> list[str]:
    """The tests that cover a file: first those that are named after it, then those of the table."""
    inside = Path(file).relative_to("pipeline")
    folder = next(each for each in COVERED_BY if inside.is_relative_to(each))
    named = sorted((ROOT / "tests").rglob(f"test_{inside.stem}*.py"))
    covering = [path for name in COVERED_BY[folder] for path in _test_files(ROOT / name)]
    # pytest runs a file where its folder's turn is if that is named too, so only files are named, each once.
    return list(dict.fromkeys(path.relative_to(ROOT).as_posix() for path in [*named, *covering]))


def _test_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("test_*.py"))


def try_all(mutants: list[Mutant], jobs: int, timeout_s: float) -> list[Mutant]:
    """Try all mutants, print what became of each, and give those that no test noticed."""
    survivors = []
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(Path(home) / str(number)))

        def attempt(mutant: Mutant) -> str | None:
            copy = copies.get()
            try:
                return copy.attempt(mutant, timeout_s)
            finally:
                copies.put(copy)

        for mutant, failure in zip(mutants, pool.map(attempt, mutants), strict=True):
            print(f"{mutant.file}:{mutant.line} {failure or 'SURVIVED'}", flush=True)
            print(f"  - {mutant.before}\n  + {mutant.after}", flush=True)
            if failure is None:
                survivors.append(mutant)
    return survivors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description="Mutate the core at random.")
    parser.add_argument("--count", type=int, default=60, help="how many mutants (60)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="which ones (random)")
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument("--line", type=int, help="all mutants of this line")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds after which one is noticed (600)")
    chosen = parser.parse_args()

    found = [each for file in covered_files() if chosen.only in file for each in mutants_of(file)]
    if chosen.line:
        sample = [each for each in found if each.line == chosen.line]
    else:
        sample = random.Random(chosen.seed).sample(found, min(chosen.count, len(found)))
    print(f"{len(sample)} of {len(found)} mutants, seed {chosen.seed}", flush=True)
    survivors = try_all(sample, chosen.jobs, chosen.timeout)
    print(f"{len(sample) - len(survivors)} of {len(sample)} killed")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
