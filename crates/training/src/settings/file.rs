//! Files of settings: TOML or JSON, of the version that this program knows.

use super::{Overrides, VERSION};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::Path;

impl Overrides {
    /// Reads a TOML or JSON file, by its extension.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let parsed = match extension {
            Some("toml") => Self::from_toml(&text),
            Some("json") => Self::from_json(&text),
            _ => bail!(
                "the config file {} must end in .toml or .json",
                path.display()
            ),
        };
        parsed.with_context(|| format!("cannot understand the config file {}", path.display()))
    }

    /// Reads JSON text.
    pub fn from_json(text: &str) -> Result<Self> {
        check_version(serde_json::from_str(text)?, VERSION)?;
        Ok(serde_json::from_str(text)?)
    }

    /// Reads TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        check_version(toml::from_str(text)?, VERSION)?;
        Ok(toml::from_str(text)?)
    }
}

/// Just the version: a file of another one may hold fields that this program doesn't know.
#[derive(Deserialize)]
pub struct Versioned {
    version: Option<u32>,
}

/// Refuses a file that isn't of the version known.
pub fn check_version(file: Versioned, known: u32) -> Result<()> {
    let version = file.version.unwrap_or(known);
    ensure!(
        version == known,
        "its version is {version}, and this program reads version {known}: use the program that \
         wrote it, or take the settings over by hand"
    );
    Ok(())
}
