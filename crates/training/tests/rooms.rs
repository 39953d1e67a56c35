//! The rooms of the laboratory: imports run downwards only, no two files import each other in a circle, no name means
//! two things, and no file is too long to be read at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, floor by floor from above; a room imports from floors below it only.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["report"],
    &["sweep", "inspect"],
    &["run", "bench"],
    &["learn"],
    &["data", "device", "weights"],
    &["settings", "draw"],
    &["task"],
    &["names", "text", "stats", "files"],
];

/// The longest file, in lines.
const LONGEST: usize = 500;

type Module = Vec<String>;

/// Every source file by its module, without comments and tests.
fn sources() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let module = module(path.strip_prefix(&root).unwrap());
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.lines().count() <= LONGEST, "{path:?} is too long");
                found.insert(module, code(&text));
            }
        }
    }
    found
}

fn module(path: &Path) -> Module {
    let path: PathBuf = path.with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_string());
    parts
        .filter(|part| !["mod", "lib"].contains(&part.as_str()))
        .collect()
}

/// Without comments and without the tests at the end.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..tests].lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that a text names from `crate` or `super` on, with the names in braces each on its own.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = vec![];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            if !is_word(before) && before != ':' && before != '$' {
                expand(&text[at..], vec![], &mut found);
            }
        }
    }
    found
}

/// Follows `a::b::{c, d::e}` and returns what comes after it.
fn expand<'a>(text: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        let word: String = (rest.chars())
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        rest = &rest[word.len()..];
        if !word.is_empty() {
            path.push(word);
        }
        match rest.strip_prefix("::") {
            Some(after) if after.starts_with('{') => {
                rest = &after[1..];
                while !rest.trim_start().starts_with('}') && !rest.is_empty() {
                    rest = expand(rest, path.clone(), found).trim_start();
                    rest = rest.strip_prefix(',').unwrap_or(rest);
                }
                return rest.trim_start().strip_prefix('}').unwrap_or(rest);
            }
            Some(after) => rest = after,
            None => {
                // A new name for it.
                if let Some(name) = rest.strip_prefix(" as ") {
                    rest = name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                }
                found.push(path);
                // Something in braces that is not a list of imports.
                return match rest.chars().next() {
                    Some(',' | '}') => rest,
                    Some(next) => &rest[next.len_utf8()..],
                    None => rest,
                };
            }
        }
    }
}

/// The file that a path leads to, from a module.
fn target(from: &Module, path: &[String], files: &BTreeSet<&Module>) -> Option<Module> {
    let (mut at, mut rest) = match path[0].as_str() {
        "crate" => (vec![], &path[1..]),
        "self" => (from.clone(), &path[1..]),
        _ => (from.clone(), path),
    };
    while rest.first().is_some_and(|part| part == "super") {
        at.pop();
        rest = &rest[1..];
    }
    while let Some((next, after)) = rest.split_first() {
        at.push(next.clone());
        if !files.contains(&at) {
            at.pop();
            break;
        }
        rest = after;
    }
    files.contains(&at).then_some(at)
}

fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let sources = sources();
    let files: BTreeSet<&Module> = sources.keys().collect();
    let of = |module: &Module, text: &str| {
        let paths = paths(text).into_iter();
        let all = paths.filter_map(|path| target(module, &path, &files));
        all.filter(|other| other != module).collect()
    };
    let each = sources.iter();
    each.map(|(module, text)| (module.clone(), of(module, text)))
        .collect()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn imports_run_downwards_only() {
    let mut wrong = vec![];
    let mut seen = 0;
    for (module, others) in imports() {
        let Some(room) = module.first().filter(|room| *room != "main") else {
            continue;
        };
        let own = floor(room).unwrap_or_else(|| panic!("the room {room} is on no floor"));
        for other in others {
            let Some(to) = other.first().filter(|to| *to != room) else {
                continue;
            };
            seen += 1;
            if floor(to).is_none_or(|below| below <= own) {
                wrong.push(format!(
                    "{} imports {}",
                    module.join("::"),
                    other.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} imports were found");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut imports = imports();
    // A room's `mod.rs` that hands on what is in its files is no file that imports: what it hands on has been resolved.
    loop {
        let ends: Vec<Module> = (imports.iter())
            .filter(|(_, others)| others.iter().all(|other| !imports.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if ends.is_empty() {
            break;
        }
        for end in ends {
            imports.remove(&end);
        }
    }
    let left: Vec<String> = imports.keys().map(|module| module.join("::")).collect();
    assert!(left.is_empty(), "in circles or above one: {left:?}");
}

#[test]
fn no_name_is_given_to_two_types() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, text) in sources() {
        for line in text.lines().filter(|line| !line.starts_with(' ')) {
            let mut words = line.trim_start_matches("pub(super) ").split_whitespace();
            let kind = words.find(|word| *word != "pub").unwrap_or_default();
            if ["struct", "enum", "trait", "type"].contains(&kind) {
                let name = words.next().unwrap_or_default();
                let end = name.find(|c: char| !c.is_alphanumeric());
                let name = &name[..end.unwrap_or(name.len())];
                places
                    .entry(name.to_string())
                    .or_default()
                    .push(module.join("::"));
            }
        }
    }
    assert!(places.len() > 80, "only {} types were found", places.len());
    places.retain(|_, modules| modules.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

/// That the checks see what they are to see.
#[test]
fn what_the_checks_read_is_what_is_written() {
    let text = "use crate::a::{self, b::C, d::{E, F as G}};\nlet x = crate::h::i(super::j);";
    let found: BTreeSet<String> = paths(text)
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    for expected in [
        "crate::a::self",
        "crate::a::b::C",
        "crate::a::d::E",
        "crate::a::d::F",
        "crate::h::i",
        "super::j",
    ] {
        assert!(found.contains(expected), "no {expected} in {found:?}");
    }
    let words = |text: &str| text.split("::").map(str::to_string).collect::<Module>();
    let files = [words("a"), words("a::b"), words("c")];
    let files: BTreeSet<&Module> = files.iter().collect();
    let lead = |from: &str, to: &str| target(&words(from), &words(to), &files);
    assert_eq!(lead("c", "crate::a::b::C"), Some(words("a::b")));
    assert_eq!(lead("a::b", "super::Thing"), Some(words("a")));
    assert_eq!(lead("a::b", "super::super::c::f"), Some(words("c")));
}
