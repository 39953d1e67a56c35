//! Keras' archives: a zip file or a folder.

use super::{Parts, format_error, hdf5, json, read_bytes};
use crate::convert::WeightError;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

pub(super) const WEIGHTS: &str = "model.weights.h5";
const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";

/// Keras archives without compression. An archive that was packed again may be compressed, but not by more than this, so
/// that a few bytes can't fill the memory.
pub(super) const LARGEST_EXPANSION: u64 = 64;

pub(super) fn read(path: &Path, bytes: Vec<u8>) -> Result<Parts, WeightError> {
    let refused = |message: String| format_error(path, "Keras archive", message);
    let limit = bytes.len() as u64 * LARGEST_EXPANSION;
    let mut archive =
        ZipArchive::new(Cursor::new(&bytes)).map_err(|error| refused(error.to_string()))?;
    let names = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()));
    let names = names.collect::<Vec<_>>();
    // Whoever zips an unpacked archive often zips the folder.
    let folder = names.iter().find_map(|name| {
        let folder = name.strip_suffix(WEIGHTS)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    });
    let Some(folder) = folder else {
        let held = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        return Err(refused(format!("it has no {WEIGHTS}, but {held}")));
    };
    let mut member = |name: &str| {
        let name = format!("{folder}{name}");
        if !names.contains(&name) {
            return Ok(None);
        }
        let mut content = Vec::new();
        let file = archive
            .by_name(&name)
            .map_err(|error| refused(format!("{name}: {error}")))?;
        let read = file.take(limit + 1).read_to_end(&mut content);
        read.map_err(|error| refused(format!("{name}: {error}")))?;
        match content.len() as u64 > limit {
            true => Err(refused(format!("{name} expands too far"))),
            false => Ok(Some(content)),
        }
    };
    let (config, metadata) = (member(CONFIG)?, member(METADATA)?);
    let weights = member(WEIGHTS)?.unwrap_or_default();
    parts(path, weights, config, metadata)
}

/// What `model.save(…, zipped=False)` writes.
pub(super) fn read_folder(path: &Path) -> Result<Parts, WeightError> {
    let member = |name: &str| {
        let path = path.join(name);
        path.exists().then(|| read_bytes(&path)).transpose()
    };
    let (config, metadata) = (member(CONFIG)?, member(METADATA)?);
    parts(path, read_bytes(&path.join(WEIGHTS))?, config, metadata)
}

fn parts(
    path: &Path,
    weights: Vec<u8>,
    config: Option<Vec<u8>>,
    metadata: Option<Vec<u8>>,
) -> Result<Parts, WeightError> {
    let parse = |bytes: Option<Vec<u8>>| bytes.map(|bytes| json(path, &bytes)).transpose();
    let config = parse(config)?;
    let version =
        parse(metadata)?.and_then(|about| Some(about.get("keras_version")?.as_str()?.to_string()));
    let parts = hdf5::read(path, weights, config.as_ref())?;
    Ok(Parts {
        config,
        version,
        ..parts
    })
}
