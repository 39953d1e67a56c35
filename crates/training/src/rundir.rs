//! The folder of a run: what is in it, and how it gets there without ever being half written.
//!
//! | file | what |
//! | --- | --- |
//! | `config.json` | the settings; `--config` reads them |
//! | `metrics.jsonl` | a line for each look at the held-out data |
//! | `lstm.safetensors`, `rnn.safetensors` | the trained models |
//! | `summary.json` | the results, as printed by `--json` |
//! | `curves.svg` | held-out loss against updates |

use crate::config::{CellName, Settings};
use crate::model::Model;
use anyhow::{Context, Result, ensure};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of a run.
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes a new folder: `out`, which must not hold anything, or the next free one under `runs/`.
    pub fn create(out: Option<&Path>, settings: &Settings) -> Result<Self> {
        let path = match out {
            Some(out) => out.to_path_buf(),
            None => next_free(settings),
        };
        let taken = path.is_file() || fs::read_dir(&path).is_ok_and(|mut dir| dir.next().is_some());
        ensure!(
            !taken,
            "{} is not empty: choose another folder with --out, or remove it",
            path.display()
        );
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path })
    }

    /// Opens the folder of a finished run and reads its settings.
    pub fn open(path: &Path) -> Result<(Self, Settings)> {
        let dir = Self {
            path: path.to_path_buf(),
        };
        let config = dir.path.join("config.json");
        let text = fs::read_to_string(&config).with_context(|| {
            format!(
                "cannot read {}: is it the folder of a run?",
                config.display()
            )
        })?;
        let given = serde_json::from_str(&text)
            .with_context(|| format!("cannot understand {}", config.display()))?;
        let settings = Settings::resolve(given)
            .with_context(|| format!("cannot use the settings in {}", config.display()))?;
        Ok((dir, settings))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that metrics are appended to.
    pub fn metrics(&self) -> Result<File> {
        let path = self.path.join("metrics.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.path.join(name), bytes)
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.write(name, text.as_bytes())
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
            let mut model = Model::new(cell, settings, device);
            model.load_from(&mut SafetensorsStore::from_bytes(Some(bytes)))?;
            Ok(model)
        };
        let model = read().with_context(|| format!("cannot read the model {}", path.display()))?;
        Ok(Some(model))
    }
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = temporary_file().tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Temporary files are for their owner alone; results are as readable as other files.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    #[allow(unused_mut)]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder
}

fn model_file(cell: CellName) -> String {
    format!("{}.safetensors", cell.name())
}

fn next_free(settings: &Settings) -> PathBuf {
    let name = match settings.gap {
        0 => settings.task.name().to_string(),
        gap => format!("{}-gap{gap}", settings.task.name()),
    };
    let numbered = (1..).map(|number| Path::new("runs").join(format!("{name}-{number:03}")));
    numbered
        .into_iter()
        .find(|path| !path.exists())
        .expect("numbers don't end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn settings() -> Settings {
        let given = Overrides {
            hidden: Some(4),
            gap: Some(3),
            ..Overrides::default()
        };
        Settings::resolve(given).unwrap()
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(out.path()), &settings()).unwrap();
        dir.write("config.json", b"{}").unwrap();
        let error = RunDir::create(Some(out.path()), &settings()).err().unwrap();
        assert!(error.to_string().contains("is not empty"), "{error}");
        let file = out.path().join("config.json");
        let error = RunDir::create(Some(&file), &settings()).err().unwrap();
        assert!(error.to_string().contains("is not empty"), "{error}");
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
