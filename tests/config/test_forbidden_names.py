"""Parameters of calculators and plugins that name programs, in any spelling and at any depth."""

import pytest

from sparring.schema.forbidden import refuse_programs

WORDS = (
    "command",
    "cmd",
    "exec",
    "executable",
    "binary",
    "bin",
    "program",
    "shell",
    "script",
    "launcher",
    "mpirun",
    "wrapper",
)
SPELLINGS = {
    "plain": str.lower,
    "capitals": str.upper,
    "title": str.title,
    "odd capitals": str.swapcase,
    "one small letter": lambda word: word[0] + word[1:].upper(),
    "private": lambda word: f"_{word}",
    "of a code": lambda word: f"vasp_{word}",
    "of a code in camel case": lambda word: f"vasp{word.title()}",
    "with a hyphen": lambda word: f"my-{word}",
    "with a blank": lambda word: f" {word}",
    "numbered": lambda word: f"{word}2",
    "a path": lambda word: f"{word}_path",
    "a path in camel case": lambda word: f"{word}Path",
    "a line": lambda word: f"{word}_line",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_parameter_that_names_a_program_is_refused_in_any_spelling_and_at_any_depth(spelling):
    for key in map(SPELLINGS[spelling], WORDS):
        for parameters in ({key: "ls"}, {"a": {key: "ls"}}, {"a": [{key: ["ls", "-l"]}]}, {key: {"a": 1}}, {key: None}):
            with pytest.raises(ValueError, match="names a program; a configuration is data and must not name programs"):
                refuse_programs("vasp", parameters)


@pytest.mark.parametrize(
    "key", ["xc", "kpts", "basis", "n_bins", "bins", "shells", "binding", "description", "profiling"]
)
def test_a_parameter_that_names_no_program_is_let_through(key):
    refuse_programs("vasp", {key: "PBE", "nested": {key: [1, 2]}})
