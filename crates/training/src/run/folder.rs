//! The folder of a run: what is in it, and how it gets there without ever being half written.
//!
//! | file | what |
//! | --- | --- |
//! | `config.json` | the settings; `--config` reads them |
//! | `metrics.jsonl` | a line for each evaluation on the held-out data |
//! | `checkpoints/` | where the run stands; `--resume` reads the newest |
//! | `lstm.safetensors` and so on | the trained models, one a cell |
//! | `summary.json` | the results, as printed by `--json` |
//! | `curves.svg` | held-out loss against updates |
//! | `report/` | pictures of all of it, on a page |
//! | `run.lock` | locked by the process that trains, whose id it holds |

use crate::files::{
    self, is_partial, make_folder, remove_old, remove_partial, write_json, write_whole,
};
use crate::learn::checkpoint::{self, FOLDER};
use crate::learn::metrics_file::METRICS;
use crate::learn::{MetricsFile, Model, Point, Prefix};
use crate::names::CellName;
use crate::settings::{Overrides, Settings};
use anyhow::{Context, Result, bail, ensure};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "run.lock";

/// What a run writes beside its lock, its models and its checkpoints.
const FILES: [&str; 4] = ["config.json", METRICS, "summary.json", "curves.svg"];

/// The folder of a run; `--run DIR` is the way it was given before.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("folder").required(true))]
pub struct RunFolder {
    /// Folder of the run
    #[arg(value_name = "DIR", group = "folder")]
    dir: Option<PathBuf>,

    /// The same
    #[arg(long = "run", value_name = "DIR", group = "folder", hide = true)]
    before: Option<PathBuf>,
}

impl RunFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        let given = self.dir.as_deref().or(self.before.as_deref());
        given.unwrap_or(Path::new(""))
    }
}

/// The folder of a run.
pub struct RunDir {
    path: PathBuf,
    /// Locked as long as the run goes on. The system unlocks it when the process ends, however it ends.
    _lock: Option<File>,
}

impl RunDir {
    /// Makes a new folder for this process alone: `out`, which must not hold anything, or the next free
    /// one under `runs/`.
    pub fn create(out: Option<&Path>, settings: &Settings) -> Result<Self> {
        let path = match out {
            Some(out) => out.to_path_buf(),
            None => next_free(settings)?,
        };
        // A process that is about to start there has locked the folder before it is filled.
        let mut locked = None;
        if path.join(LOCK).exists() {
            locked = Some(lock(&path)?);
        }
        ensure!(
            is_free(&path),
            "{} is not empty: choose another folder with --out, or remove it; to go on with a run, use \
             --resume",
            path.display()
        );
        make_folder(&path)?;
        let locked = match locked {
            Some(locked) => locked,
            None => lock(&path)?,
        };
        Ok(Self {
            path,
            _lock: Some(locked),
        })
    }

    /// Makes a folder for a run, or takes one over that has part of a run: what runs write, and `others`, is removed, and
    /// what anybody else has put there stays.
    pub fn anew(path: &Path, others: &[&str]) -> Result<Self> {
        make_folder(path)?;
        let locked = lock(path)?;
        for name in FILES.iter().chain(others) {
            remove_old(&path.join(name))?;
        }
        for cell in CellName::value_variants() {
            remove_old(&path.join(model_file(*cell)))?;
        }
        let checkpoints = path.join(FOLDER);
        for entry in fs::read_dir(&checkpoints).into_iter().flatten().flatten() {
            if checkpoint::parse(&entry.path()).is_some() {
                remove_old(&entry.path())?;
            }
        }
        for folder in [path, &checkpoints] {
            remove_partial(folder);
        }
        Ok(Self {
            path: path.to_path_buf(),
            _lock: Some(locked),
        })
    }

    /// Opens the folder of a run, to read, and its settings.
    pub fn open(path: &Path) -> Result<(Self, Settings)> {
        let dir = Self {
            path: path.to_path_buf(),
            _lock: None,
        };
        ensure!(
            path.exists(),
            "there is no {}: is it the folder of a run?",
            path.display()
        );
        let config = dir.path.join("config.json");
        let text = fs::read_to_string(&config).with_context(|| {
            format!(
                "cannot read {}: is it the folder of a run?",
                config.display()
            )
        })?;
        let given = Overrides::from_json(&text)
            .with_context(|| format!("cannot understand {}", config.display()))?;
        let settings = Settings::resolve(given)
            .with_context(|| format!("cannot use the settings in {}", config.display()))?;
        Ok((dir, settings))
    }

    /// Opens the folder of a run to go on with it, in this process alone.
    pub fn resume(path: &Path) -> Result<(Self, Settings)> {
        let (dir, settings) = Self::open(path)?;
        let locked = lock(path)?;
        remove_partial(path);
        remove_partial(&path.join(FOLDER));
        let dir = Self {
            _lock: Some(locked),
            ..dir
        };
        Ok((dir, settings))
    }

    /// Whether there are results that are written after the first checkpoint only.
    pub fn is_beyond_its_first_checkpoint(&self) -> bool {
        let metrics = fs::read(self.path.join(METRICS)).unwrap_or_default();
        let lines = metrics.iter().filter(|byte| **byte == b'\n').count();
        lines > 1 || !self.cells().is_empty()
    }

    /// The cells whose trained models are there.
    pub fn cells(&self) -> Vec<CellName> {
        let all = CellName::value_variants().iter().copied();
        all.filter(|cell| self.path.join(model_file(*cell)).exists())
            .collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that metrics are appended to, cut after `keep`, and what is in it.
    pub fn metrics(&self, keep: Prefix) -> Result<(MetricsFile, Vec<Point>)> {
        MetricsFile::open(&self.path.join(METRICS), keep)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.path.join(name), bytes)
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.path.join(name), value)
    }

    /// Writes the weights of a trained model.
    pub fn write_model(&self, cell: CellName, model: &Model) -> Result<()> {
        // The store writes its metadata in random order; without any, a seed gives the same bytes.
        let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
        model.save_into(&mut store)?;
        self.write(&model_file(cell), &store.get_bytes()?)
    }

    /// The trained model of a cell, or `None` if the run has none.
    pub fn read_model(
        &self,
        cell: CellName,
        settings: &Settings,
        device: &Device,
    ) -> Result<Option<Model>> {
        let path = self.path.join(model_file(cell));
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> Result<Model> {
            let bytes = fs::read(&path)?;
            // Nothing is drawn: a file that doesn't fit is refused before, whatever sizes the settings name.
            let mut model = Model::undrawn(cell, settings, device);
            model.load_from(&mut SafetensorsStore::from_bytes(Some(bytes)))?;
            // Weights of float64, where the device was not told to compute in it.
            match device.settings().float_dtype {
                dtype if model.head.weight.dtype() == dtype.into() => Ok(model),
                dtype => Ok(lstm_core::cast(model, dtype)),
            }
        };
        let model = read().with_context(|| format!("cannot read the model {}", path.display()))?;
        Ok(Some(model))
    }
}

/// Whether a run can start in a folder: it is not there, or holds nothing but what is left of a run that
/// was killed before it had begun.
fn is_free(path: &Path) -> bool {
    if !path.exists() {
        return true;
    }
    let is_nothing = |name: std::ffi::OsString| name == LOCK || is_partial(&name);
    fs::read_dir(path).is_ok_and(|entries| {
        entries
            .into_iter()
            .all(|entry| entry.is_ok_and(|entry| is_nothing(entry.file_name())))
    })
}

/// Locks a folder for this process.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot write in {}: make it writable, or copy the folder to where there is room and \
                 the right to write",
                folder.display()
            )
        })?;
    if !files::lock(&file).with_context(|| format!("cannot lock {}", path.display()))? {
        let mut pid = String::new();
        // Where locks keep readers out, too, the id stays unknown.
        let _ = file.read_to_string(&mut pid);
        let process = match pid.trim() {
            "" => "another process".to_string(),
            pid => format!("the process {pid}"),
        };
        bail!(
            "{} is in use by {process}: wait until it ends, or stop it; a new run needs another \
             folder",
            folder.display()
        );
    }
    let write_id = || -> io::Result<()> {
        file.set_len(0)?;
        writeln!(&file, "{}", std::process::id())
    };
    write_id().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(file)
}

fn model_file(cell: CellName) -> String {
    format!("{}.safetensors", cell.name())
}

/// Makes the next free folder under `runs/`; of two processes that start at once, each gets its own.
fn next_free(settings: &Settings) -> Result<PathBuf> {
    let name = match settings.gap {
        0 => settings.task.name().to_string(),
        gap => format!("{}-gap{gap}", settings.task.name()),
    };
    let mut number = 1;
    loop {
        let path = Path::new("runs").join(format!("{name}-{number:03}"));
        let made = fs::create_dir_all("runs").and_then(|()| fs::create_dir(&path));
        match made {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot make the folder {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::of("hidden = 4\ngap = 3")
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(out.path()), &settings()).unwrap();
        let error = RunDir::create(Some(out.path()), &settings()).err().unwrap();
        let process = format!("in use by the process {}", std::process::id());
        assert!(error.to_string().contains(&process), "{error}");
        dir.write("config.json", b"{}").unwrap();
        drop(dir);
        let error = RunDir::create(Some(out.path()), &settings()).err().unwrap();
        assert!(error.to_string().contains("is not empty"), "{error}");
        let file = out.path().join("config.json");
        let error = RunDir::create(Some(&file), &settings()).err().unwrap();
        assert!(error.to_string().contains("is not empty"), "{error}");
    }

    #[test]
    fn a_run_is_done_anew_without_what_it_had_written_and_with_what_others_had() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = out.path().join(FOLDER);
        make_folder(&checkpoints).unwrap();
        let ours = [
            "config.json",
            "lstm.safetensors",
            "result.json",
            "checkpoints/rnn-20.ckpt",
        ];
        let others = ["notes.txt", "checkpoints/notes.txt"];
        for name in ours.iter().chain(&others) {
            fs::write(out.path().join(name), b"").unwrap();
        }
        let dir = RunDir::anew(out.path(), &["result.json"]).unwrap();
        let error = RunDir::anew(out.path(), &[]).err().unwrap().to_string();
        assert!(error.contains("in use by the process"), "{error}");
        drop(dir);
        assert!(ours.iter().all(|name| !out.path().join(name).exists()));
        assert!(others.iter().all(|name| out.path().join(name).exists()));
    }

    #[test]
    fn models_round_trip_and_bad_files_are_errors() {
        let out = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let dir = RunDir::create(Some(out.path()), &settings()).unwrap();
        let model = Model::new(CellName::Lstm, &settings(), &device);
        dir.write_model(CellName::Lstm, &model).unwrap();

        let other = Settings {
            seed: 2,
            ..settings()
        };
        let read = |settings: &Settings| dir.read_model(CellName::Lstm, settings, &device);
        let loaded = read(&other).unwrap().unwrap();
        let weights = |model: &Model| model.head.weight.val().into_data();
        assert_eq!(weights(&loaded), weights(&model));
        assert!(
            dir.read_model(CellName::Rnn, &other, &device)
                .unwrap()
                .is_none()
        );

        let wider = Settings {
            hidden: 5,
            ..settings()
        };
        let whole = fs::read(out.path().join("lstm.safetensors")).unwrap();
        let error = format!("{:#}", read(&wider).unwrap_err());
        assert!(error.contains("cannot read the model"), "{error}");
        for bytes in [
            &whole[..whole.len() / 2],
            &whole[..7],
            b"",
            b"not a model at all",
        ] {
            dir.write("lstm.safetensors", bytes).unwrap();
            let error = format!("{:#}", read(&settings()).unwrap_err());
            assert!(error.contains("cannot read the model"), "{error}");
        }
    }
}
