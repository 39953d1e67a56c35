//! What is printed, where, and how numbers are written.

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::{Serialize, Serializer};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// Prints to standard output.
///
/// # Errors
///
/// If it is closed or full; `println!` would panic.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}

/// Prints a result, as JSON or in words.
pub fn print_result(
    result: &impl Serialize,
    json: bool,
    words: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match json {
        true => print(&serde_json::to_string(result)?),
        false => print(&words()),
    }
}

/// Says something on standard error, where progress and warnings go. If it is closed, nobody listens, and
/// the work goes on; `eprintln!` would panic.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A path as a word of a shell's command line.
pub fn shell(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    match path.chars().all(plain) && !path.is_empty() {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// A path for JSON, which has no names that aren't Unicode.
pub fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A table whose columns after the first are numbers.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A gap in a table.
pub fn gap(gap: usize) -> String {
    match gap {
        0 => "none".to_string(),
        gap => gap.to_string(),
    }
}

/// A gap in a title.
pub fn at_gap(gap: usize) -> String {
    match gap {
        0 => String::new(),
        gap => format!(", gap {gap}"),
    }
}

/// A number with its thousands apart: 12,345.
pub fn thousands(number: usize) -> String {
    HumanCount(number as u64).to_string()
}

/// A whole number.
pub fn whole(value: f64) -> String {
    thousands(value.round().max(0.0) as usize)
}

/// A share.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// A number of any size.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        0.001..10_000.0 => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => format!("{value:.0e}"),
    }
}

/// Seconds.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "an unknown time".to_string();
    }
    let time = Duration::from_secs_f64(seconds.max(0.0));
    match time.as_secs() {
        0..60 => format!("{:.0} s", time.as_secs_f64().ceil()),
        60..3600 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_command_line() {
        for (path, word) in [
            ("runs/adding-gap50-001", "runs/adding-gap50-001"),
            ("my run", "'my run'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(shell(Path::new(path)), word);
        }
    }

    #[test]
    fn numbers_are_readable() {
        let texts = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let texts = [0.0, 0.693, 12.0, 1e-5, 0.25].map(short);
        assert_eq!(texts, ["0", "0.693", "12", "1e-5", "0.25"]);
        assert_eq!(
            (percent(0.5), whole(1234.4)),
            ("50 %".into(), "1,234".into())
        );
        let texts = [0.2, 59.0, 90.0, 5400.0, f64::NAN].map(duration);
        assert_eq!(
            texts,
            ["1 s", "59 s", "1.5 min", "1.5 h", "an unknown time"]
        );
    }
}
