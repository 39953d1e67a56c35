//! Checkpoints: where a run stands, in one file that is whole or not there, so that a killed run goes on
//! bit for bit.
//!
//! burn-train decides when to save and hands over its records (model, optimizer, learning rate), which
//! are burnpack. Its own file checkpointer is not used: it writes three files, each in place, without a
//! checksum, and knows nothing of the data's position, the metrics and the other cell. Here all of it goes
//! into one file, written beside its place, synced and renamed, with a CRC at its end; the last two are
//! kept.

use crate::config::{CellName, Settings};
use crate::data::Position;
use crate::failure::Failure;
use crate::metrics::{Meter, settle};
use crate::metrics_file::{MetricsFile, Prefix};
use crate::rundir::{RunDir, write_whole};
use crate::task::Score;
use anyhow::{Context, Result, bail, ensure};
use burn::store::RecordError;
use burn::tensor::Bytes;
use burn::train::checkpoint::{
    Checkpoint as BurnRecord, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The version of checkpoint files that this program writes and reads.
const VERSION: u32 = 1;
const FOLDER: &str = "checkpoints";
const EXTENSION: &str = "ckpt";
/// Checkpoints that are kept: the newest, and the one before it should the newest be damaged.
const KEPT: usize = 2;

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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Records {
    #[serde(with = "serde_bytes")]
    model: Vec<u8>,
    #[serde(with = "serde_bytes")]
    optimizer: Vec<u8>,
    #[serde(with = "serde_bytes")]
    learning_rate: Vec<u8>,
}

impl Records {
    /// The record of the model.
    pub fn model<R: BurnRecord>(&self) -> Result<R, RecordError> {
        record(&self.model)
    }

    /// The record of the optimizer.
    pub fn optimizer<R: BurnRecord>(&self) -> Result<R, RecordError> {
        record(&self.optimizer)
    }

    /// The record of the learning rate's schedule.
    pub fn learning_rate<R: BurnRecord>(&self) -> Result<R, RecordError> {
        record(&self.learning_rate)
    }
}

fn record<R: BurnRecord>(bytes: &[u8]) -> Result<R, RecordError> {
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
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        rmp_serde::encode::write(&mut bytes, self)?;
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
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

/// The newest checkpoint of a run that can be read, and its file; `None` if none was ever written.
///
/// One that is damaged is passed over, which `say` is told.
pub fn newest(
    dir: &RunDir,
    settings: &Settings,
    say: impl Fn(&str),
) -> Result<Option<(Checkpoint, PathBuf)>> {
    let files = files(dir.path(), settings)?;
    let anew = "Start the run anew in another folder, with --config and this run's config.json";
    if files.is_empty() {
        ensure!(
            !dir.is_beyond_its_first_checkpoint(),
            "there is no checkpoint in {}, though the run wrote some: they were deleted. {anew}",
            dir.path().join(FOLDER).display()
        );
        return Ok(None);
    }
    for (k, path) in files.iter().rev().enumerate() {
        let read = fs::read(path).map_err(anyhow::Error::from);
        match read.and_then(|bytes| Checkpoint::from_bytes(&bytes)) {
            Ok(checkpoint) => {
                ensure!(
                    checkpoint.state.settings == serde_json::to_string(settings)?,
                    "{} was changed since the checkpoint {} was written: undo the change, or start \
                     another run with it",
                    dir.path().join("config.json").display(),
                    path.display()
                );
                return Ok(Some((checkpoint, path.clone())));
            }
            Err(error) => {
                let next = match k + 1 < files.len() {
                    true => "; taking the one before it",
                    false => "",
                };
                say(&format!(
                    "the checkpoint {} cannot be used: {error:#}{next}",
                    path.display()
                ));
            }
        }
    }
    bail!(
        "no checkpoint in {} can be used. {anew}",
        dir.path().join(FOLDER).display()
    )
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
        .filter_map(|entry| Some((age(&entry.path(), settings)?, entry.path())))
        .collect();
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn file(cell: CellName, updates: usize) -> PathBuf {
    Path::new(FOLDER).join(format!("{}-{updates}.{EXTENSION}", cell.name()))
}

/// When a checkpoint was written, from its name: the cell's place in the run, and the updates.
fn age(path: &Path, settings: &Settings) -> Option<(usize, usize)> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let (name, updates) = path.file_stem()?.to_str()?.split_once('-')?;
    let cells = settings.cell.list();
    let cell = cells.iter().position(|cell| cell.name() == name)?;
    Some((cell, updates.parse().ok()?))
}

/// Collects the parts of each checkpoint and writes it once they are all there.
///
/// burn-train asks [`CheckpointingStrategy`] at each pause, on the thread that trains and when all metrics
/// are in: that is when the state is taken. It then hands each record to a thread of its own, which calls
/// [`Checkpointer::save`]; [`Saver::wait`] lets the training go on when the file is written.
#[derive(Clone)]
pub struct Saver {
    shared: Arc<Mutex<Shared>>,
    written: Arc<Condvar>,
}

struct Shared {
    dir: PathBuf,
    state: Box<dyn Fn() -> (State, MetricsFile) + Send>,
    /// By burn-train's number of the pass.
    pending: BTreeMap<usize, Pending>,
    /// The checkpoints that are kept, oldest first.
    kept: Vec<PathBuf>,
    failure: Failure,
}

/// A checkpoint in the making.
struct Pending {
    state: State,
    metrics: MetricsFile,
    records: [Option<Vec<u8>>; 3],
}

/// A record's place in [`Pending`].
#[derive(Clone, Copy)]
enum Part {
    Model,
    Optimizer,
    LearningRate,
}

/// Takes one of the records.
pub struct PartSaver {
    saver: Saver,
    part: Part,
}

impl Saver {
    /// Saves into the run's folder what `state` says at the time; `resumed` is the checkpoint that the
    /// run goes on from. What goes wrong is told to `failure`.
    pub fn new(
        dir: &RunDir,
        resumed: Option<PathBuf>,
        failure: Failure,
        state: impl Fn() -> (State, MetricsFile) + Send + 'static,
    ) -> Self {
        let shared = Shared {
            dir: dir.path().to_path_buf(),
            state: Box::new(state),
            pending: BTreeMap::new(),
            kept: resumed.into_iter().collect(),
            failure,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            written: Arc::default(),
        }
    }

    /// Waits until what was handed over is on the disk, or has failed.
    pub fn wait(&self) {
        let is_pending = |shared: &mut Shared| !shared.pending.is_empty();
        let waited = self.written.wait_while(self.shared(), is_pending);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the model's records.
    pub fn model(&self) -> PartSaver {
        self.part(Part::Model)
    }

    /// Takes the optimizer's records.
    pub fn optimizer(&self) -> PartSaver {
        self.part(Part::Optimizer)
    }

    /// Takes the learning rate's records.
    pub fn learning_rate(&self) -> PartSaver {
        self.part(Part::LearningRate)
    }

    fn part(&self, part: Part) -> PartSaver {
        let saver = self.clone();
        PartSaver { saver, part }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CheckpointingStrategy for Saver {
    fn checkpointing(&mut self, pass: usize, store: &EventStoreClient) -> Vec<CheckpointingAction> {
        settle(store, pass);
        let mut shared = self.shared();
        if shared.failure.interrupter.should_stop() {
            return vec![];
        }
        let (state, metrics) = (shared.state)();
        let pending = Pending {
            state,
            metrics,
            records: [const { None }; 3],
        };
        shared.pending.insert(pass, pending);
        vec![CheckpointingAction::Save]
    }
}

impl<R: BurnRecord> Checkpointer<R> for PartSaver {
    fn save(&self, pass: usize, record: R) -> Result<(), CheckpointerError> {
        let bytes = record.checkpoint_into_bytes();
        let mut shared = self.saver.shared();
        let added = match bytes {
            Ok(bytes) => shared.add(pass, self.part, bytes.to_vec()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = added {
            shared.pending.clear();
            shared.failure.stop(error);
        }
        if shared.pending.is_empty() {
            self.saver.written.notify_all();
        }
        Ok(())
    }

    /// Old files are removed when a new one is written.
    fn delete(&self, _pass: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    /// Runs are resumed before burn-train starts, so that a bad file is an error and not a panic.
    fn restore(&self, pass: usize) -> Result<R, CheckpointerError> {
        let message = format!("pass {pass} is not restored through burn-train");
        Err(CheckpointerError::Unknown(message))
    }
}

impl Shared {
    fn add(&mut self, pass: usize, part: Part, bytes: Vec<u8>) -> Result<()> {
        // Nothing is there once another part has failed.
        let Some(pending) = self.pending.get_mut(&pass) else {
            return Ok(());
        };
        pending.records[part as usize] = Some(bytes);
        if pending.records.iter().any(Option::is_none) {
            return Ok(());
        }
        let pending = self.pending.remove(&pass).expect("it was just found");
        let [model, optimizer, learning_rate] = pending.records.map(Option::unwrap_or_default);
        let checkpoint = Checkpoint {
            state: pending.state,
            records: Records {
                model,
                optimizer,
                learning_rate,
            },
        };
        // A checkpoint must not be on the disk before the lines that it counts.
        pending.metrics.sync()?;
        self.write(&checkpoint)
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let State { cell, data, .. } = checkpoint.state;
        let path = self.dir.join(file(cell, data.updates));
        let folder = self.dir.join(FOLDER);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        write_whole(&path, &checkpoint.to_bytes()?)?;
        self.kept.retain(|kept| *kept != path);
        self.kept.push(path);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        // Only now that the new one is whole, and with it those that were found damaged.
        for entry in fs::read_dir(&folder)?.flatten() {
            if !self.kept.contains(&entry.path()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cells, Overrides};

    fn settings() -> Settings {
        Settings::resolve(Overrides {
            cell: Some(Cells::Both),
            ..Overrides::default()
        })
        .unwrap()
    }

    fn checkpoint(cell: CellName, updates: usize) -> Checkpoint {
        Checkpoint {
            state: State {
                settings: serde_json::to_string(&settings()).unwrap(),
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

    /// Edits that the checksum doesn't show.
    #[test]
    fn garbled_checkpoints_are_errors() {
        let bytes = checkpoint(CellName::Rnn, 7).to_bytes().unwrap();
        let body = &bytes[..bytes.len() - 4];
        crate::mutated::mutate("a checkpoint", body, |body| {
            let crc = crc32fast::hash(body).to_le_bytes();
            Checkpoint::from_bytes(&[body, &crc].concat())
        });
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = (VERSION + 1).to_le_bytes().to_vec();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let error = Checkpoint::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains("its version is 2"), "{error}");
    }

    #[test]
    fn the_last_two_are_kept_and_a_damaged_one_is_passed_over() {
        let out = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(out.path()), &settings()).unwrap();
        let saver = Saver::new(&dir, None, Failure::default(), || unreachable!());
        let names = || -> Vec<String> {
            let files = files(dir.path(), &settings()).unwrap();
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
            files.into_iter().map(name).collect()
        };
        let newest = || newest(&dir, &settings(), |_| ()).map(|found| found.map(|(_, path)| path));
        assert_eq!(newest().unwrap(), None);
        for (cell, updates) in [
            (CellName::Lstm, 90),
            (CellName::Lstm, 100),
            (CellName::Rnn, 20),
        ] {
            let mut shared = saver.shared();
            shared.write(&checkpoint(cell, updates)).unwrap();
        }
        assert_eq!(names(), ["lstm-100.ckpt", "rnn-20.ckpt"]);
        let path = |name: &str| dir.path().join(FOLDER).join(name);
        assert_eq!(newest().unwrap(), Some(path("rnn-20.ckpt")));

        fs::write(path("rnn-20.ckpt"), b"half").unwrap();
        assert_eq!(newest().unwrap(), Some(path("lstm-100.ckpt")));
        // The run goes on from there, and the damaged file goes once there is a newer one.
        let resumed = Some(path("lstm-100.ckpt"));
        let saver = Saver::new(&dir, resumed, Failure::default(), || unreachable!());
        let mut shared = saver.shared();
        shared.write(&checkpoint(CellName::Rnn, 10)).unwrap();
        assert_eq!(names(), ["lstm-100.ckpt", "rnn-10.ckpt"]);

        for name in names() {
            fs::write(path(&name), b"half").unwrap();
        }
        let error = newest().unwrap_err().to_string();
        assert!(error.contains("no checkpoint in"), "{error}");
    }
}
