//! `metrics.jsonl`: appended to line by line. A checkpoint says how much of it is its own, so that a
//! resumed run goes on without a gap or a double line.

use crate::names::CellName;
use crate::task::{Score, number_or_null};
use anyhow::{Context, Result, ensure};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// The state of a run at one evaluation; a line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The cell.
    pub cell: CellName,
    /// Updates made.
    pub update: usize,
    /// Mean loss on the batches trained on since the evaluation before.
    #[serde(deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// Loss and accuracy on the held-out data.
    #[serde(flatten)]
    pub held_out: Score,
}

/// The beginning of the file up to a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    bytes: u64,
    crc: u32,
}

/// The file, open for more lines. A clone appends to the same file and remembers its length at the time.
#[derive(Clone)]
pub struct MetricsFile {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    digest: Hasher,
}

impl MetricsFile {
    /// Opens the file, makes sure that it begins with `keep`, cuts what comes after and returns the lines
    /// that stay.
    pub fn open(path: &Path, keep: Prefix) -> Result<(Self, Vec<Point>)> {
        let open = || -> Result<(Self, Vec<Point>)> {
            let file = OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .open(path)?;
            let mut text = vec![];
            (&file).take(keep.bytes).read_to_end(&mut text)?;
            let mut digest = Hasher::new();
            digest.update(&text);
            let found = Prefix {
                bytes: text.len() as u64,
                crc: digest.clone().finalize(),
            };
            ensure!(
                found == keep,
                "its beginning is not what it was at the checkpoint: it was cut, changed or replaced. \
                 Start the run anew in another folder, with --config and this run's config.json"
            );
            file.set_len(keep.bytes)?;
            let points = points(&text)?;
            let opened = Self {
                path: path.to_path_buf(),
                file: Arc::new(file),
                bytes: keep.bytes,
                digest,
            };
            Ok((opened, points))
        };
        open().with_context(|| format!("cannot go on with {}", path.display()))
    }

    /// Appends a line.
    pub fn append(&mut self, point: &Point) -> Result<()> {
        let mut line = serde_json::to_string(point)?;
        line.push('\n');
        (&*self.file)
            .write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.bytes += line.len() as u64;
        self.digest.update(line.as_bytes());
        Ok(())
    }

    /// The file so far.
    pub fn prefix(&self) -> Prefix {
        Prefix {
            bytes: self.bytes,
            crc: self.digest.clone().finalize(),
        }
    }

    /// Makes sure that the lines are on the disk.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The lines of a file of metrics.
pub fn points(text: &[u8]) -> Result<Vec<Point>> {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

/// The lines of the file in a run's folder.
pub fn read(folder: &Path) -> Result<Vec<Point>> {
    let file = folder.join(METRICS);
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    points(&text).with_context(|| format!("cannot understand {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn point(update: usize) -> Point {
        Point {
            cell: CellName::Lstm,
            update,
            train_loss: 0.1 + update as f64,
            held_out: Score::new(0.2, 0.5),
        }
    }

    #[test]
    fn what_comes_after_the_prefix_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, points) = MetricsFile::open(&path, Prefix::default()).unwrap();
        assert!(points.is_empty());
        file.append(&point(1)).unwrap();
        file.append(&point(2)).unwrap();
        let (keep, two) = (file.prefix(), fs::read(&path).unwrap());
        file.append(&point(3)).unwrap();
        fs::write(
            &path,
            [&fs::read(&path).unwrap()[..], b"{\"half a li"].concat(),
        )
        .unwrap();

        let (mut file, points) = MetricsFile::open(&path, keep).unwrap();
        assert_eq!(fs::read(&path).unwrap(), two);
        assert_eq!(points.iter().map(|p| p.update).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(file.prefix(), keep);
        file.append(&point(3)).unwrap();
        let three = file.prefix();
        let (_, points) = MetricsFile::open(&path, three).unwrap();
        assert_eq!(points.len(), 3);
    }

    #[test]
    fn a_changed_beginning_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, _) = MetricsFile::open(&path, Prefix::default()).unwrap();
        file.append(&point(1)).unwrap();
        let keep = file.prefix();
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        for bad in [&whole[..whole.len() - 1], &flipped[..], b""] {
            fs::write(&path, bad).unwrap();
            let error = format!("{:#}", MetricsFile::open(&path, keep).err().unwrap());
            assert!(error.contains("cannot go on with"), "{error}");
            assert!(error.contains("cut, changed or replaced"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bad, "it is left as it was");
        }
    }
}
