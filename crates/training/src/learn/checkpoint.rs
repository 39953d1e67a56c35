//! Checkpoints: where a run stands, in one file that is whole or not there, so that a killed run goes on
//! bit for bit.
//!
//! burn-train decides when to save and hands over its records (model, optimizer, learning rate), which
//! are burnpack. Its own file checkpointer is not used: it writes three files, each in place, without a
//! checksum, and knows nothing of the data's position, the metrics and the other cell. Here all of it goes
//! into one file, written beside its place, synced and renamed, with a CRC at its end; the last two are
//! kept.

use super::metrics_file::Prefix;
use super::record::Meter;
use crate::data::Position;
use crate::names::CellName;
use crate::settings::{Overrides, Settings};
use crate::task::Score;
use anyhow::{Context, Result, bail, ensure};
use burn::store::RecordError;
use burn::tensor::Bytes;
use burn::train::checkpoint::Checkpoint as BurnRecord;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The version of checkpoint files that this program writes and reads.
const VERSION: u32 = 1;
/// Their folder in that of the run.
pub const FOLDER: &str = "checkpoints";
const EXTENSION: &str = "ckpt";

/// A cell whose training has ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// The cell.
    pub cell: CellName,
    /// Updates made.
    pub updates: usize,
    /// Its score on the held-out data.
    pub score: Score,
    /// Seconds of training.
    pub seconds: f64,
}

/// Where a run stands, but for the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The settings, as JSON: a run goes on with those it began with.
    pub settings: String,
    /// The device by name: only on the same is the rest the same bit for bit.
    pub device: String,
    /// The cells before this one.
    pub finished: Vec<Finished>,
    /// The cell in training.
    pub cell: CellName,
    /// The position in the training data.
    pub data: Position,
    /// The metrics since the last line of `metrics.jsonl`.
    pub meter: Meter,
    /// `metrics.jsonl` so far.
    pub metrics: Prefix,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// burn-train's records, each in burnpack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Records {
    #[serde(with = "serde_bytes")]
    pub(super) model: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(super) optimizer: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(super) learning_rate: Vec<u8>,
}

/// One of the records.
pub fn record<R: BurnRecord>(bytes: &[u8]) -> Result<R, RecordError> {
    R::checkpoint_from_bytes(Bytes::from_bytes_vec(bytes.to_vec()))
}

/// All that a process needs to go on as if nothing had happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the run stands.
    pub state: State,
    /// The network and what trains it.
    pub records: Records,
}

impl Checkpoint {
    /// The file: version, content and a checksum.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        rmp_serde::encode::write(&mut bytes, self)?;
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        Ok(bytes)
    }

    /// Reads the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let intact = bytes
            .split_last_chunk()
            .filter(|(body, crc)| crc32fast::hash(body) == u32::from_le_bytes(**crc));
        let (body, _) = intact.context("its checksum is wrong: it was cut or changed")?;
        let (version, body) = body.split_first_chunk().context("it is too short")?;
        let version = u32::from_le_bytes(*version);
        ensure!(
            version == VERSION,
            "its version is {version}, and this program reads version {VERSION}"
        );
        Ok(rmp_serde::from_slice(body)?)
    }
}

/// What to do where a run cannot go on.
pub const ANEW: &str =
    "Start the run anew in another folder, with --config and this run's config.json";

/// The newest checkpoint of a run that can be read, and its file; `None` if there is none.
///
/// One that is damaged is passed over, which `say` is told.
pub fn newest(
    dir: &Path,
    settings: &Settings,
    say: impl Fn(&str),
) -> Result<Option<(Checkpoint, PathBuf)>> {
    let mut files = files(dir, settings)?;
    if files.is_empty() {
        return Ok(None);
    }
    while let Some(path) = files.pop() {
        let read = fs::read(&path).map_err(anyhow::Error::from);
        match read.and_then(|bytes| Checkpoint::from_bytes(&bytes)) {
            Ok(checkpoint) => {
                ensure!(
                    means(&checkpoint.state.settings, settings),
                    "{} was changed since the checkpoint {} was written: undo the change, or start \
                     another run with it",
                    dir.join("config.json").display(),
                    path.display()
                );
                return Ok(Some((checkpoint, path)));
            }
            Err(error) => {
                let next = match files.is_empty() {
                    true => "",
                    false => "; taking the one before it",
                };
                say(&format!(
                    "the checkpoint {} cannot be used: {error:#}{next}",
                    path.display()
                ));
            }
        }
    }
    bail!(
        "no checkpoint in {} can be used. {ANEW}",
        dir.join(FOLDER).display()
    )
}

/// Whether a text has these settings: by what it means, as a later version may write others.
fn means(text: &str, settings: &Settings) -> bool {
    let read = Overrides::from_json(text).and_then(Settings::resolve);
    read.is_ok_and(|read| read == *settings)
}

/// The newest checkpoint file of a run, if there is any.
pub fn newest_file(dir: &Path, settings: &Settings) -> Option<PathBuf> {
    files(dir, settings).ok()?.pop()
}

/// The checkpoint files of a run, oldest first.
fn files(dir: &Path, settings: &Settings) -> Result<Vec<PathBuf>> {
    let folder = dir.join(FOLDER);
    if !folder.exists() {
        return Ok(vec![]);
    }
    let entries = fs::read_dir(&folder)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut files: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter_map(|path| Some((age(&path, settings)?, path)))
        .collect();
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The file of a checkpoint in the folder of a run.
pub fn file(cell: CellName, updates: usize) -> PathBuf {
    Path::new(FOLDER).join(format!("{}-{updates}.{EXTENSION}", cell.name()))
}

/// The cell and the updates of a checkpoint, from its name; `None` of anything else.
pub fn parse(path: &Path) -> Option<(CellName, usize)> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
    let (name, updates) = name.strip_suffix('.')?.rsplit_once('-')?;
    Some((CellName::from_str(name, false).ok()?, updates.parse().ok()?))
}

/// When a checkpoint was written: the cell's place in the run, and the updates.
fn age(path: &Path, settings: &Settings) -> Option<(usize, usize)> {
    let (cell, updates) = parse(path)?;
    let place = settings.cell.list().iter().position(|one| *one == cell)?;
    Some((place, updates))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn checkpoint(cell: CellName, updates: usize) -> Checkpoint {
        Checkpoint {
            state: State {
                settings: serde_json::to_string(&Settings::of("")).unwrap(),
                device: "flex".to_string(),
                finished: vec![],
                cell,
                data: Position {
                    updates,
                    words: 1 << 65,
                },
                meter: Meter::default(),
                metrics: Prefix::default(),
                seconds: 0.1,
            },
            records: Records {
                model: vec![1, 2, 3],
                optimizer: vec![],
                learning_rate: vec![4],
            },
        }
    }

    #[test]
    fn checkpoints_round_trip_and_every_flipped_bit_and_cut_is_found() {
        let bytes = checkpoint(CellName::Rnn, 7).to_bytes().unwrap();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read.state.data, checkpoint(CellName::Rnn, 7).state.data);
        assert_eq!(read.state.seconds, 0.1);
        assert_eq!(read.records.model, [1, 2, 3]);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::from_bytes(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = (VERSION + 1).to_le_bytes().to_vec();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let error = Checkpoint::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains("its version is 2"), "{error}");
    }

    #[test]
    fn settings_are_compared_by_what_they_mean() {
        let settings = Settings::of("");
        let json = serde_json::to_string(&settings).unwrap();
        assert!(means(&json, &settings));
        // As an earlier version wrote them, without what there is now.
        let mut fields: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap();
        for new in [
            "layers",
            "bidirectional",
            "dropout",
            "schedule",
            "weight-decay",
        ] {
            assert!(fields.remove(new).is_some(), "{new}");
        }
        fields.insert("truncate".to_string(), serde_json::Value::Null);
        let earlier = serde_json::to_string(&fields).unwrap();
        assert!(means(&earlier, &settings));
        assert!(!means(
            &earlier.replace("\"hidden\":64", "\"hidden\":65"),
            &settings
        ));
        assert!(!means("{", &settings));
    }

    #[test]
    fn names_of_checkpoints_are_read_as_written() {
        for cell in CellName::value_variants() {
            assert_eq!(parse(&file(*cell, 70)), Some((*cell, 70)));
        }
        for other in [
            "lstm-7",
            "lstm-7.txt",
            "lstm.ckpt",
            "gpt-7.ckpt",
            "notes",
            "lstm-x.ckpt",
        ] {
            assert_eq!(parse(Path::new(other)), None, "{other}");
        }
    }
}
