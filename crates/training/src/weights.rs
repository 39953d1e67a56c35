//! `weights`: what recurrent layers a file of weights holds, whoever wrote it.

use anyhow::Result;
use burn::tensor::DType;
use lstm_core::convert::{FoundLayer, Weights};
use serde::Serialize;
use std::path::Path;

/// Tensors that are named where there is no recurrent layer among them.
const NAMED: usize = 20;

/// What a file holds.
#[derive(Serialize)]
pub struct Contents {
    file: String,
    layers: Vec<FoundLayer>,
    tensors: Vec<Tensor>,
    /// What is in the file beside tensors.
    skipped: Vec<String>,
    #[serde(skip)]
    table: String,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    /// `None` for a type that Burn hasn't.
    dtype: Option<DType>,
}

/// Reads a file of any format.
pub fn contents(path: &Path) -> Result<Contents> {
    let weights = Weights::read(path)?;
    let layers = weights.recurrent_layers();
    let tensor = |name: &str| Tensor {
        name: name.to_string(),
        shape: weights.shape(name).unwrap_or_default().to_vec(),
        dtype: weights.dtype(name),
    };
    Ok(Contents {
        file: path.display().to_string(),
        table: layers.to_string(),
        layers: layers.into_iter().collect(),
        tensors: weights.names().map(tensor).collect(),
        skipped: weights.skipped().map(str::to_string).collect(),
    })
}

impl Contents {
    /// The layers as a table; where there are none, the first tensors.
    pub fn text(&self) -> String {
        let mut text = self.table.clone();
        if self.layers.is_empty() {
            for tensor in self.tensors.iter().take(NAMED) {
                text += &format!("\n  {} {:?}", tensor.name, tensor.shape);
            }
        }
        text += &format!("\n{} tensors", self.tensors.len());
        for skipped in &self.skipped {
            text += &format!("\nskipped: {skipped}");
        }
        text
    }
}
