#!/usr/bin/env python3
"""The check of the pages finds what it is for, and nothing in pages that are right."""

import os
import tempfile
import unittest
from pathlib import Path

import docs

MANIFEST = '[workspace]\nmembers = ["crates/lstm-core", "crates/training"]\n[profile.quick]\n'
LIBRARY = '[package]\nname = "lstm-core"\n[features]\nflex = []\n'
PROGRAM = '[package]\nname = "training"\n'
# A program with one command, which has one option.
SAYS = """#!/bin/sh
case "$1" in
--help) printf 'Commands:\\n  eval  Evaluates\\n\\nOptions:\\n  --gap GAP\\n' ;;
eval) printf 'Options:\\n  --run DIR\\n' ;;
*) exit 2 ;;
esac
"""
README = """# A page

[Other](docs/other.md#the-first-part) and [itself](#a-page), `--gap`, `eval --run DIR`.

```sh
cargo quick
NAME=1 cargo run --release -p training -- --gap 3
cargo run --release -p training -- eval --run DIR   # a comment with --options
cargo test --release --workspace --features lstm-core/flex --test one -- --ignored
python3 scripts/one.py --more
scripts/two.sh there
```

<!-- output: cargo quick -->
```text
│ LSTM ┆ 1,234 ┆ solved │
results: runs/adding-001
```
"""


class Pages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        files = {
            "README.md": README,
            "CHANGELOG.md": "",
            "docs/other.md": "## The `first` part\n",
            "Cargo.toml": MANIFEST,
            ".cargo/config.toml": '[alias]\nquick = "run --profile quick -p training --"\n',
            "crates/lstm-core/README.md": "",
            "crates/lstm-core/Cargo.toml": LIBRARY,
            "crates/lstm-core/src/lib.rs": "//! Words.\n",
            "crates/lstm-core/tests/one.rs": "",
            "crates/training/Cargo.toml": PROGRAM,
            "crates/training/src/main.rs": "",
            "scripts/one.py": "--more",
            "scripts/two.sh": "",
            "program": SAYS,
        }
        for name, text in files.items():
            self.write(name, text)
        os.chmod(self.root / "program", 0o755)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def problems(self, printed=None):
        return [problem for _, problem in docs.problems(self.root, str(self.root / "program"), printed)]

    def test_pages_that_are_right_have_no_problems(self):
        printed = "│ LSTM ┆ 99 ┆ solved │\nresults: /tmp/x/runs/other"
        self.assertEqual(self.problems(printed), [])

    def test_each_error_is_found(self):
        for right, wrong, expected in [
            ("docs/other.md#the", "docs/another.md#the", "no such file"),
            ("the-first-part", "the-second-part", "no such heading"),
            ("#a-page", "#b-page", "no such heading"),
            ("cargo quick\n", "cargo slow\n", "no such command or alias"),
            ("-p training -- --gap", "-p trainings -- --gap", "none of that name"),
            ("-- --gap", "-- --gaps", "no option --gaps"),
            ("-- eval --run DIR ", "-- eval --gap 3 ", "no option --gap"),
            ("-- eval --run DIR ", "-- evaluate --run DIR ", "no such command"),
            ("`eval --run DIR`", "`eval --walk DIR`", "no option --walk"),
            ("`--gap`", "`--gasp`", "nothing here has this option"),
            ("lstm-core/flex", "lstm-core/flux", "no such feature"),
            ("--test one", "--test two", "none of that name"),
            ("-- --ignored", "-- --ignore", "no option of Rust's tests"),
            ("scripts/one.py", "scripts/two.py", "no such script"),
            ("--more", "--less", "no option --less"),
            ("# A page", "# A page\n\nWhat is to be\ndone.\n\n## A page", "is to be"),
            ("# A page", "# A page\n" + "\n" * docs.README_LINES, "lines, at most"),
        ]:
            self.assertIn(right, README)
            self.write("README.md", README.replace(right, wrong, 1))
            found = self.problems()
            self.assertTrue(any(expected in problem for problem in found), (wrong, found))

    def test_words_are_looked_for_in_sources_over_the_ends_of_lines(self):
        self.write("crates/lstm-core/src/lib.rs", "    /// Saved for the\n    /// way back, `of_hidden`.\n")
        found = self.problems()
        self.assertEqual([problem[:7] for problem in found], ["line 1:", "line 2:"], found)

    def test_output_that_the_program_did_not_print_is_found(self):
        found = self.problems("│ LSTM ┆ 99 ┆ not solved │\nresults: runs/other")
        self.assertEqual(len(found), 1, found)

    def test_code_is_no_prose(self):
        self.write("docs/other.md", "## The first part\n```text\n[no](link)\n```\nand `[no](link)`\n")
        self.assertEqual(self.problems(), [])


if __name__ == "__main__":
    unittest.main()
