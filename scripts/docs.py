#!/usr/bin/env python3
"""Checks the pages: README.md, CHANGELOG.md, docs/ and the library's README.

- Every relative link leads to a file, and its anchor to a heading.
- Every quoted command names a package, binary, test, feature, script and option that there is.
- README.md has at most 150 lines.
- Phrases that the field has plainer words for occur neither in the pages nor in the sources.

    scripts/docs.py --program target/release/training     also asks the program which commands and options it has
    scripts/docs.py --printed FILE                        compares README's quoted output with what the program printed
"""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README_LINES = 150

# What the left says, plainer words say too; the right is what to write. Each is looked for as a whole word, in any case.
PHRASES = {
    r"the way back": "the backward pass",
    r"forwards and back": "forward and backward",
    r"(is|are) to be": "must be, is",
    r"(is|are) kept for": "is saved for",
    r"(a|the|two|each|every|first|last|next) looks?": "evaluation",
    r"looks? at the held-out": "evaluates on the held-out",
    r"looked (at|solved) every": "evaluated every",
    r"as they lie|where they lie|lie so": "contiguous, borrowed, in place",
    r"of_(hidden|output|states)": "grad_…",
    r"rows that have ended|beyond a row's end": "padding, padded steps",
    r"what (goes|went) into": "the gate pre-activations",
    r"bounds? of the (global )?gradient('s)? norm": "gradient clipping by global norm",
    r"walks over": "computes, iterates over",
    r"what has no kernels? runs": "the fallback is",
    r"that is there for": "that is for",
}
# Options of cargo and of Rust's tests that a page may quote, beside those that are checked by what they name.
CARGO = "--release --workspace --no-default-features --all-targets --quiet --no-verify --dry-run --no-deps".split()
HARNESS = "--ignored --skip --nocapture --test-threads".split()


def pages(root):
    return [root / "README.md", root / "CHANGELOG.md", root / "crates/lstm-core/README.md", *sorted(root.glob("docs/**/*.md"))]


def sources(root):
    folders = [*root.glob("crates/*/"), root / "examples", root / "scripts"]
    found = [path for folder in folders for kind in ("rs", "py") for path in sorted(folder.rglob(f"*.{kind}"))]
    return [path for path in found if path.name not in ("docs.py", "docs_test.py")]


# --- links --------------------------------------------------------------------------------------------


def prose(text):
    """A page without its fenced code, whose lines stay as empty ones."""
    fenced, lines = False, []
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        lines.append("" if fence or fenced else line)
        fenced ^= fence
    return "\n".join(lines)


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(text), re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = sum(re.fullmatch(re.escape(anchor) + r"(-\d+)?", other) is not None for other in found)
        found.append(f"{anchor}-{count}" if count else anchor)
    return found


def broken_links(path):
    """Links of a page that lead nowhere."""
    text = re.sub(r"`[^`\n]*`", "", prose(path.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            yield f"link to {target}: no such file"
        elif anchor and to.suffix == ".md" and anchor not in anchors(to.read_text(encoding="utf-8")):
            yield f"link to {target}: no such heading there"


# --- commands -----------------------------------------------------------------------------------------


class Workspace:
    """What commands can name."""

    def __init__(self, root, program=None):
        self.root, self.program, self.helps = root, program, {}
        self.packages, self.bins, self.tests, self.benches = {}, {}, set(), set()
        manifest = tomllib.loads((root / "Cargo.toml").read_text())
        self.profiles = {"dev", "release", "test", "bench", *manifest.get("profile", {})}
        for folder in (root / member for member in manifest["workspace"]["members"]):
            manifest = tomllib.loads((folder / "Cargo.toml").read_text())
            name = manifest["package"]["name"]
            self.packages[name] = set(manifest.get("features", {})) | {"default"}
            bins = [entry["name"] for entry in manifest.get("bin", [])]
            bins += [name] if (folder / "src/main.rs").exists() else []
            self.bins[name] = bins
            for kind, targets in (("test", self.tests), ("bench", self.benches)):
                targets |= {entry["name"] for entry in manifest.get(kind, [])}
                directory = folder / {"test": "tests", "bench": "benches"}[kind]
                targets |= {file.stem for file in directory.glob("*.rs")}
                targets |= {file.parent.name for file in directory.glob("*/main.rs")}
        config = root / ".cargo/config.toml"
        self.aliases = tomllib.loads(config.read_text()).get("alias", {}) if config.exists() else {}

    def help(self, *command):
        """What the program says of itself or of a command; nothing if it has no such command."""
        if command not in self.helps:
            done = subprocess.run([self.program, *command, "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.helps[command] = done.stdout if done.returncode == 0 else ""
        return self.helps[command]

    def commands(self):
        """The program's commands."""
        section = re.search(r"^Commands:\n((?:  .*\n|\n)*)", self.help(), re.M)
        return re.findall(r"^  (\w[\w-]*)", section.group(1), re.M) if section else []

    def options(self):
        """The options of the program and all its commands, and of the scripts."""
        texts = [self.help(), *(self.help(command) for command in self.commands())] if self.program else []
        texts += [script.read_text(encoding="utf-8") for script in self.root.glob("scripts/*.py")]
        return set(re.findall(r"--[a-z][\w-]*", "\n".join(texts))) | set(CARGO) | set(HARNESS)

    # Each of these gives what is wrong with a command, or nothing.

    def wrong_with(self, words):
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["cargo"]:
            return self.wrong_with_cargo(words[1:])
        if words[:1] in (["python3"], ["python"]):
            return self.wrong_with_script(words[1:])
        if words[:1] and words[0].startswith(("scripts/", ".ci/")):
            return None if (self.root / words[0]).exists() else f"{words[0]}: no such script"
        if words[:1] == ["training"]:
            return self.wrong_with_program(words[1:])
        return None

    def wrong_with_cargo(self, words):
        if words[:1] and words[0] in self.aliases:
            alias = self.aliases[words[0]]
            words = [*(shlex.split(alias) if isinstance(alias, str) else alias), *words[1:]]
        words, rest = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
        command, *options = words or [""]
        if command in ("add", "install"):
            return None
        if command not in ("run", "test", "build", "bench", "doc", "clippy", "check", "fmt", "publish"):
            return f"cargo {command}: no such command or alias"
        package, binary, options = None, None, iter(options)
        for option in options:
            option, _, value = option.partition("=")
            named = {
                "-p": self.packages,
                "--package": self.packages,
                "--bin": [name for names in self.bins.values() for name in names],
                "--test": self.tests,
                "--bench": self.benches,
                "--profile": self.profiles,
                "--features": None,
            }
            if option in named:
                value = value or next(options, "")
                if option == "--features":
                    for feature in value.split(","):
                        of, _, name = feature.rpartition("/")
                        of = [of] if of else [package] if package else list(self.packages)
                        if not any(name in self.packages.get(package, ()) for package in of):
                            return f"{option} {value}: no such feature"
                elif "…" not in value and value not in named[option]:
                    return f"{option} {value}: there is none of that name"
                package = value if option in ("-p", "--package") else package
                binary = value if option == "--bin" else binary
            elif option not in CARGO and not re.fullmatch(r"[^-].*", option):
                return f"{option}: an option that this check doesn't know"
        if command == "run":
            binary = binary or next(iter(self.bins.get(package, [])), None)
            return self.wrong_with_program(rest) if binary == "training" else None
        unknown = [word for word in rest if word.startswith("--") and word not in HARNESS]
        return f"{unknown[0]}: no option of Rust's tests" if command == "test" and unknown else None

    def wrong_with_program(self, words):
        if not self.program or words[:1] == ["…"]:
            return None
        command = []
        if words and not words[0].startswith("-"):
            command, words = [words[0]], words[1:]
            if command[0] not in self.commands():
                return f"training {command[0]}: no such command"
        text = self.help(*command)
        for word in words:
            option = word.partition("=")[0]
            if option.startswith("--") and not re.search(re.escape(option) + r"(?![\w-])", text):
                return f"training {' '.join(command)}: no option {option}"
        return None

    def wrong_with_script(self, words):
        if not words or words[0].startswith("-"):
            return None
        script = self.root / words[0]
        if not script.exists():
            return f"{words[0]}: no such script"
        text = script.read_text(encoding="utf-8")
        unknown = [word for word in words[1:] if word.startswith("--") and word not in text]
        return f"{words[0]}: no option {unknown[0]}" if unknown else None


def quoted(text):
    """The command lines in a page: in fenced code of a shell, and within lines."""
    for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.removeprefix("$ ")
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(text)):
        yield span


def wrong_commands(path, workspace):
    """Quoted commands of a page that don't exist as they stand."""
    known = None
    for line in quoted(path.read_text(encoding="utf-8")):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if not words:
            continue
        if workspace.program and words[0] in workspace.commands() and len(words) > 1:
            words = ["training", *words]
        elif re.fullmatch(r"--[a-z][\w-]*", words[0]) and workspace.program:
            known = known or workspace.options()
            if words[0] not in known:
                yield f"`{line}`: nothing here has this option"
        wrong = workspace.wrong_with(words)
        if wrong:
            yield f"`{line}`: {wrong}"


# --- words and length ---------------------------------------------------------------------------------


def coined(text):
    """Phrases that have a plainer word, each with its line and what to write."""
    # A phrase may run over the end of a comment's line.
    flat = re.sub(r"\n[ \t]*(///|//!|//|#)? ?", lambda gap: "\n" + " " * (len(gap.group()) - 1), text)
    for phrase, instead in PHRASES.items():
        spaced = phrase.replace(" ", r"\s+")
        for found in re.finditer(rf"\b(?:{spaced})\b", flat, re.I):
            line = flat.count("\n", 0, found.start()) + 1
            yield line, f"“{' '.join(found.group().split())}”: say {instead}"


def too_long(text, lines=README_LINES):
    count = len(text.splitlines())
    return f"{count} lines, at most {lines} are allowed: move something to docs/" if count > lines else None


# --- quoted output ------------------------------------------------------------------------------------


def masked(line):
    """A line without what differs from run to run: numbers, names of folders, widths of columns."""
    line = re.sub(r"[─═┌┬┐└┴┘╞╪╡╔╗]+", "-", line)
    line = re.sub(r"\S*/\S*", "PATH", line)
    return " ".join(re.sub(r"\d[\d,.]*", "#", line).split())


def not_printed(text, printed):
    """Lines of a page's quoted outputs that the program did not print."""
    lines = {masked(line) for line in printed.splitlines()}
    for block in re.findall(r"^<!-- output: .* -->\n```text\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if masked(line) not in lines:
                yield f"quoted output: the program printed no line like\n    {line}"


# --- all of it ----------------------------------------------------------------------------------------


def problems(root, program=None, printed=None):
    """What is wrong, a line each."""
    workspace = Workspace(root, program)
    for path in pages(root):
        text = path.read_text(encoding="utf-8")
        for problem in [*broken_links(path), *wrong_commands(path, workspace)]:
            yield path, problem
        for line, problem in coined(prose(text)):
            yield path, f"line {line}: {problem}"
    for path in sources(root):
        for line, problem in coined(path.read_text(encoding="utf-8")):
            yield path, f"line {line}: {problem}"
    readme = (root / "README.md").read_text(encoding="utf-8")
    for problem in [too_long(readme), *(not_printed(readme, printed) if printed is not None else [])]:
        if problem:
            yield root / "README.md", problem


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", metavar="FILE", help="the built program; without it, its commands and options are not checked")
    parser.add_argument("--printed", type=Path, metavar="FILE", help="what the default command printed")
    args = parser.parse_args()
    printed = args.printed.read_text(encoding="utf-8") if args.printed else None
    found = list(problems(ROOT, args.program, printed))
    for path, problem in found:
        print(f"{path.relative_to(ROOT)}: {problem}", file=sys.stderr)
    if not args.program:
        print("not checked, without --program: the program's commands and options", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
