"""The promises that hold for the whole package: floors, a light import, no global state, no pickles."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sparring"
FLOORS = (
    "support",
    "units",
    "atoms schema uncertainty",
    "candidates expected_error labels potentials",
    "domain inputs selection starting_data",
    "committee exchange",
    "committee_files evaluation dynamics plausibility testing training",
    "proposers teacher",
    "surfaces",
    "plots systems",
    "config",
    "runs",
    "assembly",
    "validation",
    "reporting",
    "commands",
    "cli",
)
"""Folders and modules in the root of the package: each imports from lower floors only, and never from its own."""
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names.split()}
MOST_IN_ROOT = 12
MOST_LINES, LONGEST_BODY = 300, 60
HEAVY = {"torch", "ase", "pyscf", "matplotlib", "scipy", "rdkit", "tblite", "openmm"}
FORBIDDEN_CALLS = {
    "torch.manual_seed": "global seed",
    "torch.seed": "global seed",
    "torch.cuda.manual_seed_all": "global seed",
    "np.random.seed": "global seed",
    "numpy.random.seed": "global seed",
    "random.seed": "global seed",
    "torch.set_default_dtype": "global dtype",
    "torch.set_default_device": "global device",
    "torch.load": "unpickles",
    "torch.save": "pickles",
    "np.save": "may pickle",
    "yaml.load": "may execute what it reads",
    "yaml.unsafe_load": "executes what it reads",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "asyncio.create_subprocess_shell": "runs a shell",
    "tempfile.mktemp": "a name that others can take",
    "torch.jit.save": "pickles",
    "torch.jit.load": "unpickles",
    "torch.package": "pickles",
    "torch.serialization.load": "unpickles",
    "eval": "executes a string",
    "exec": "executes a string",
}
UNPICKLES = SOURCE / "potentials" / "foreign" / "checkpoints.py"
"""The one module that may unpickle: checkpoints of other packages, with the consent of the user."""
PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

MODULES = sorted(SOURCE.rglob("*.py"))
NO_NOUN = ("Of", "Likewise", "What", "Whatever", "Who", "Whoever", "Whose", "Whether", "Where", "Which", "How")
"""First words of descriptions and docstrings that name no thing."""


def read(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def part_of(path: Path) -> str:
    """The name that the floors list: a module, or the package that a module is in."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    yield from ((ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def documented_arguments(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names and descriptions in the sections Args and Attributes of all docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", text, flags=re.MULTILINE):
                yield from re.findall(r"^    \*{0,2}(\w+): (.*)$", section, flags=re.MULTILINE)


def by_name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_every_folder_has_one_floor():
    assert {part_of(path) for path in MODULES} - {"__init__"} == set(HEIGHT)


def test_the_root_holds_only_the_nouns_of_the_method():
    assert len(list(SOURCE.glob("*.py"))) <= MOST_IN_ROOT


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_modules_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for node in ast.walk(read(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= LONGEST_BODY, f"{by_name(path)}:{node.lineno} {node.name} has {length} lines"


def test_only_systems_know_the_names_of_the_systems_of_the_paper():
    names = re.compile(r"alanine_dipeptide|double_well|[\"']ammonia[\"']|import .*ammonia")
    known = [
        f"{by_name(path)}:{number}: {line.strip()}"
        for path in MODULES
        if part_of(path) != "systems"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if names.search(line)
    ]
    assert not known


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_imports_point_down_only(path):
    here = part_of(path)
    for name, line in imports(read(path)):
        package, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        if package != "sparring" or part == here:
            continue
        public = part not in HEIGHT
        assert not public or here == "cli", f"{by_name(path)}:{line} imports {name} from the public names"
        assert public or HEIGHT[part] < HEIGHT.get(here, len(FLOORS)), (
            f"{by_name(path)}:{line} imports {name}, which is not on a lower floor"
        )


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_no_module_has_global_state_or_reads_pickles(path):
    tree = read(path)
    for name, line in imports(tree):
        assert path == UNPICKLES or name.partition(".")[0] not in PICKLERS, f"{by_name(path)}:{line} imports {name}"
    for name, call in calls(tree):
        assert (path == UNPICKLES and name == "torch.load") or name not in FORBIDDEN_CALLS, (
            f"{by_name(path)}:{call.lineno} {name}: {FORBIDDEN_CALLS[name]}"
        )
        pickles = any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in call.keywords)
        assert not pickles, f"{by_name(path)}:{call.lineno} allows pickles"
        shells = [ast.unparse(word.value) for word in call.keywords if word.arg == "shell"]
        shell = "True" in shells or (name.startswith("subprocess.") and shells not in ([], ["False"]))
        assert not shell, f"{by_name(path)}:{call.lineno} runs a shell"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_programs_are_started_with_a_list_of_words_and_files_of_ase_with_a_format_of_text(path):
    for name, call in calls(read(path)):
        if name in ("subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_output"):
            words = call.args[0] if call.args else None
            text = isinstance(words, ast.JoinedStr) or (
                isinstance(words, ast.Constant) and isinstance(words.value, str)
            )
            assert words is not None, f"{by_name(path)}:{call.lineno} starts a program without words"
            assert not text, f"{by_name(path)}:{call.lineno} starts a program with one text"
        if name in ("ase.io.write", "ase.io.Trajectory", "ase.io.trajectory.Trajectory"):
            formats = [ast.unparse(word.value) for word in call.keywords if word.arg == "format"]
            assert formats in (["'extxyz'"], ["'xyz'"]), (
                f"{by_name(path)}:{call.lineno} writes {formats or 'any format'}"
            )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import os\nos.system('ls')", "runs a shell"),
        ("import subprocess\nsubprocess.run(words, shell=True)", "runs a shell"),
        ("import numpy as np\nnp.load(file, allow_pickle=True)", "allows pickles"),
        ("import joblib", "imports joblib"),
        ("import tempfile\ntempfile.mktemp()", "a name that others can take"),
        ("import torch\ntorch.jit.save(model, file)", "pickles"),
    ],
)
def test_a_shell_and_a_pickle_in_any_module_are_found(text, problem, tmp_path, monkeypatch):
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    with pytest.raises(AssertionError, match=problem):
        test_no_module_has_global_state_or_reads_pickles(path)


def test_make_runs_all_tests_that_need_a_package_of_another_potential():
    tests = Path(__file__).parent
    listed = re.search(r"^FOREIGN_TESTS := (.*)", (tests.parent / "Makefile").read_text("utf-8"), re.MULTILINE)
    paths = [tests.parent / name for name in listed[1].split()]
    marker = re.compile(r"mark\.extra\(|\b(mace|chgnet)_model\b")
    needing = [file for file in tests.rglob("test_*.py") if marker.search(file.read_text("utf-8"))]
    assert len(needing) > 8
    assert not [file for file in needing if not any(file.is_relative_to(path) for path in paths)]


def test_the_description_of_an_argument_is_found_in_a_docstring():
    tree = ast.parse(
        'def f(x, y):\n    """Do.\n\n    Args:\n        x: Of it.\n            More: text.\n        y: Two.\n    """'
    )
    assert list(documented_arguments(tree)) == [("x", "Of it."), ("y", "Two.")]


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_the_description_of_an_argument_begins_with_a_noun(path):
    found = documented_arguments(read(path))
    bad = [f"{name}: {text}" for name, text in found if text.split()[0].strip(".,;") in NO_NOUN]
    assert not bad, f"{by_name(path)}: begin these with a noun, as in 'seed: Seed of the velocities.': {bad}"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_a_docstring_begins_with_a_noun_or_a_verb(path):
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [ast.get_docstring(node) or "." for node in ast.walk(read(path)) if isinstance(node, documented)]
    constants = [
        node.value.value
        for node in read(path).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    bad = [text.partition("\n")[0] for text in (*texts, *map(str, constants)) if text.split()[0] in NO_NOUN]
    assert not bad, f"{by_name(path)}: begin these with the thing or the action, as in 'Mask of ...': {bad}"


@pytest.mark.parametrize("module", ["sparring", "sparring.cli"])
def test_an_import_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "sparring" in loaded
    assert not HEAVY & set(loaded)


def test_every_public_name_is_what_it_says_also_after_the_module_of_the_same_name_was_imported():
    program = """
import sparring, sparring.proposers.ascent, sparring.reporting, types
hidden = [name for name in sparring.__all__ if isinstance(getattr(sparring, name), types.ModuleType)]
assert not hidden, f"modules hide the functions {hidden}"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
