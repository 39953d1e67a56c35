//! Writes checkpoints while burn-train trains.

use super::checkpoint::{Checkpoint, FOLDER, Records, State, file, parse};
use super::failure::Failure;
use super::metrics_file::MetricsFile;
use super::record::settle;
use crate::files::{make_folder, remove_old, write_whole};
use anyhow::Result;
use burn::train::checkpoint::{
    Checkpoint as BurnRecord, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Checkpoints that are kept: the newest, and the one before it should the newest be damaged.
const KEPT: usize = 2;

/// Collects the parts of each checkpoint and writes it once they are all there.
///
/// burn-train asks [`CheckpointingStrategy`] at each pause, on the thread that trains and when all metrics
/// are in: that is when the state is taken. It then hands each record to a thread of its own, which calls
/// [`Checkpointer::save`]; [`Saver::wait`] lets the training go on when the file is written.
#[derive(Clone)]
pub struct Saver {
    shared: Arc<Mutex<Collected>>,
    written: Arc<Condvar>,
}

struct Collected {
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
pub enum Part {
    /// The network.
    Model,
    /// The optimizer's state.
    Optimizer,
    /// The learning rate's schedule.
    LearningRate,
}

/// Takes one of the records.
pub struct PartSaver {
    saver: Saver,
    part: Part,
}

impl Saver {
    /// Saves into the run's folder what `state` says at the time; `last` is the newest checkpoint so far that can be
    /// used. What goes wrong is told to `failure`.
    pub fn new(
        dir: &Path,
        last: Option<PathBuf>,
        failure: Failure,
        state: impl Fn() -> (State, MetricsFile) + Send + 'static,
    ) -> Self {
        let shared = Collected {
            dir: dir.to_path_buf(),
            state: Box::new(state),
            pending: BTreeMap::new(),
            kept: last.into_iter().collect(),
            failure,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            written: Arc::default(),
        }
    }

    /// Waits until what was handed over is on the disk, or has failed.
    pub fn wait(&self) {
        let is_pending = |shared: &mut Collected| !shared.pending.is_empty();
        let waited = self.written.wait_while(self.shared(), is_pending);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes one of the records.
    pub fn part(&self, part: Part) -> PartSaver {
        let saver = self.clone();
        PartSaver { saver, part }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Collected> {
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

impl Collected {
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
        make_folder(&folder)?;
        write_whole(&path, &checkpoint.to_bytes()?)?;
        self.kept.retain(|kept| *kept != path);
        self.kept.push(path);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        // Only now that the new one is whole, and with it those that were found damaged. Whatever else is there is
        // not ours.
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            let is_ours = parse(&path).is_some() && path.is_file();
            if is_ours && !self.kept.contains(&path) {
                remove_old(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::newest;
    use super::super::checkpoint::tests::checkpoint;
    use super::*;
    use crate::names::CellName;
    use crate::settings::Settings;

    #[test]
    fn the_last_two_are_kept_and_a_damaged_one_is_passed_over() {
        let out = tempfile::tempdir().unwrap();
        let dir = out.path();
        let saver = Saver::new(dir, None, Failure::default(), || unreachable!());
        let names = || {
            let entries = fs::read_dir(dir.join(FOLDER)).unwrap();
            let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> = entries.map(name).collect();
            names.sort();
            names
        };
        let newest =
            || newest(dir, &Settings::of(""), |_| ()).map(|found| found.map(|(_, path)| path));
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
        let path = |name: &str| dir.join(FOLDER).join(name);
        assert_eq!(newest().unwrap(), Some(path("rnn-20.ckpt")));

        fs::write(path("rnn-20.ckpt"), b"half").unwrap();
        assert_eq!(newest().unwrap(), Some(path("lstm-100.ckpt")));
        // The run goes on from there, and the damaged file goes once there is a newer one.
        let resumed = Some(path("lstm-100.ckpt"));
        let saver = Saver::new(dir, resumed, Failure::default(), || unreachable!());
        let mut shared = saver.shared();
        shared.write(&checkpoint(CellName::Rnn, 10)).unwrap();
        assert_eq!(names(), ["lstm-100.ckpt", "rnn-10.ckpt"]);

        // What is not ours stays, and is in nobody's way.
        fs::write(path("notes.txt"), b"mine").unwrap();
        fs::create_dir_all(path("rnn-1.ckpt")).unwrap();
        shared.write(&checkpoint(CellName::Rnn, 30)).unwrap();
        assert_eq!(
            names(),
            ["notes.txt", "rnn-1.ckpt", "rnn-10.ckpt", "rnn-30.ckpt"]
        );
        // But a folder in the place of a checkpoint is named.
        fs::create_dir_all(path("rnn-40.ckpt")).unwrap();
        let error = format!(
            "{:#}",
            shared.write(&checkpoint(CellName::Rnn, 40)).unwrap_err()
        );
        assert!(
            error.contains("cannot write") && error.contains("rnn-40.ckpt"),
            "{error}"
        );
        fs::remove_dir(path("rnn-40.ckpt")).unwrap();

        for name in ["rnn-10.ckpt", "rnn-30.ckpt"] {
            fs::write(path(name), b"half").unwrap();
        }
        let error = newest().unwrap_err().to_string();
        assert!(error.contains("no checkpoint in"), "{error}");
    }
}
