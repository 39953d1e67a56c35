//! What goes wrong inside burn-train's loop, where metrics and checkpoints have no error of their own
//! to return: the first failure is kept, and the loop is told to stop.

use crate::names::CellName;
use burn::train::Interrupter;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The first failure of a training.
#[derive(Clone, Default)]
pub struct Failure {
    first: Arc<Mutex<Option<anyhow::Error>>>,
    /// burn-train looks at it after every update.
    pub interrupter: Interrupter,
}

impl Failure {
    /// Stops the training; the first failure counts, what follows from it doesn't.
    pub fn stop(&self, error: impl Into<anyhow::Error>) {
        self.first().get_or_insert(error.into());
        self.interrupter.stop(None);
    }

    /// What went wrong, if anything did.
    pub fn take(&self) -> Option<anyhow::Error> {
        self.first().take()
    }

    fn first(&self) -> std::sync::MutexGuard<'_, Option<anyhow::Error>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that has become infinite or NaN.
#[derive(Debug)]
pub struct NotFinite {
    /// The cell in training.
    pub cell: CellName,
    /// The update, counted from 1.
    pub update: usize,
    /// Which of the numbers that are watched: the loss of a batch, the norm of its gradient where the loss is finite, or the
    /// loss on the held-out data.
    pub what: &'static str,
    /// The number.
    pub value: f64,
    /// The first tensor that is not finite, if it was looked for.
    pub first: Option<Arc<str>>,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            update,
            what,
            value,
            ..
        } = self;
        let cell = self.cell.name();
        write!(f, "the {cell}'s {what} is {value} at update {update}")?;
        match &self.first {
            Some(first) => write!(f, "; the first tensor that is not finite: {first}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NotFinite {}
