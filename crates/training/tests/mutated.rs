//! Files with errors in them: what reads them gives a value or an error, and doesn't panic.
//!
//! `MUTATED_CASES=1000000` makes so many cases of each file.

#[path = "../../lstm-core/tests/weights/edits.rs"]
mod edits;

use anyhow::Result;
use training::data::Position;
use training::learn::Point;
use training::learn::Prefix;
use training::learn::checkpoint::{Checkpoint, State};
use training::names::CellName;
use training::settings::{Overrides, Settings};
use training::sweep::folder::RunResult;
use training::sweep::plan::Plan;

const PLANS: [&str; 2] = [
    include_str!("../../../assets/sweeps/quick.toml"),
    include_str!("../../../assets/sweeps/published/temporal-order.toml"),
];

fn mutate<T>(name: &str, whole: &[u8], read: impl Fn(&[u8]) -> Result<T>) {
    edits::mutate(name, file!(), whole, read);
}

fn mutate_text<T>(name: &str, whole: &str, read: impl Fn(&str) -> Result<T>) {
    mutate(name, whole.as_bytes(), |bytes| {
        read(&String::from_utf8_lossy(bytes))
    });
}

fn settings() -> Settings {
    Settings::resolve(Overrides::default()).unwrap()
}

#[test]
fn plans() {
    for (number, text) in PLANS.iter().enumerate() {
        mutate_text(&format!("plan {number}"), text, |text| {
            Plan::from_toml(text)?.check()
        });
    }
}

#[test]
fn config_files() {
    let read_json = |text: &str| Settings::resolve(Overrides::from_json(text)?);
    let json = serde_json::to_string_pretty(&settings()).unwrap();
    mutate_text("config.json", &json, read_json);
    let toml = toml::to_string(&settings()).unwrap();
    mutate_text("config.toml", &toml, |text| {
        Settings::resolve(Overrides::from_toml(text)?)
    });
}

#[test]
fn results() {
    let line = include_str!("../../../assets/sweeps/quick-2026-11-24/results.jsonl");
    let line = line.lines().next().unwrap();
    mutate_text("a line of results.jsonl", line, |text| {
        Ok(serde_json::from_str::<RunResult>(text)?)
    });
    let result: RunResult = serde_json::from_str(line).unwrap();
    let point = serde_json::to_string(&result.points[0]).unwrap();
    mutate_text("a line of metrics.jsonl", &point, |text| {
        Ok(serde_json::from_str::<Point>(text)?)
    });
}

/// Edits that the checksum doesn't show.
#[test]
fn checkpoints() {
    let checkpoint = Checkpoint {
        state: State {
            settings: serde_json::to_string(&settings()).unwrap(),
            device: "flex".to_string(),
            finished: vec![],
            cell: CellName::Rnn,
            data: Position {
                updates: 7,
                words: 1 << 65,
            },
            meter: Default::default(),
            metrics: Prefix::default(),
            seconds: 0.1,
        },
        records: Default::default(),
    };
    let bytes = checkpoint.to_bytes().unwrap();
    let body = &bytes[..bytes.len() - 4];
    mutate("a checkpoint", body, |body| {
        let crc = crc32fast::hash(body).to_le_bytes();
        Checkpoint::from_bytes(&[body, &crc].concat())
    });
}
