//! What every target does with a file: read it, list its layers, ask for every tensor. None may panic, take long, or use
//! much more memory than the file is large.

use lstm_core::convert::{WeightError, Weights};
use std::path::Path;

/// Reads `bytes` as a file.
pub fn read(bytes: &[u8], reader: impl Fn(&Path) -> Result<Weights, WeightError>) {
    // In memory, and one a process.
    let path = Path::new("/dev/shm").join(format!("lstm-core-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("memory for a file");
    match reader(&path) {
        Ok(weights) => {
            let _ = weights.recurrent_layers().to_string();
            for name in weights.names() {
                let _ = weights.tensor(name);
            }
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
}
