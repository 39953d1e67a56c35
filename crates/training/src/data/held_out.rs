//! The sequences that are held out, and when they are measured on.

use super::batch::{Batch, OfTask, Sequence, Stream, random_numbers};
use super::fresh::FreshBatches;
use crate::task::Task;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder, DataLoaderIterator};
use burn::data::dataset::{Dataset, DatasetError, InMemDataset};
use burn::tensor::Device;
use std::ops::Range;
use std::sync::Arc;

/// The sequences that are never trained on, the same in every pass.
#[derive(Clone)]
pub struct HeldOut {
    task: OfTask,
    device: Device,
    sequences: Arc<InMemDataset<Sequence>>,
    /// All of them in their order, some at a time.
    pub batches: Arc<dyn DataLoader<Batch>>,
}

impl HeldOut {
    /// Sequences measured at a time: enough to keep the device busy, few enough for its caches.
    const BATCH: usize = 250;

    /// The task's number of held-out sequences.
    pub fn new(task: Arc<dyn Task>, seed: u64, device: &Device) -> Self {
        Self::in_batches(task, seed, Self::BATCH, device)
    }

    /// The same, of long sequences fewer at a time: as many as a layer of so many units has memory for.
    pub fn of_network(task: Arc<dyn Task>, seed: u64, units: usize, device: &Device) -> Self {
        /// Numbers of a layer's output, half a gigabyte.
        const MOST: usize = 1 << 27;
        let batch = MOST / task.length().saturating_mul(units).max(1);
        Self::in_batches(task, seed, batch.clamp(1, Self::BATCH), device)
    }

    fn in_batches(task: Arc<dyn Task>, seed: u64, batch: usize, device: &Device) -> Self {
        let mut rng = random_numbers(seed, Stream::HeldOut);
        let sequence = |index| {
            Sequence::new(&*task, |input, target| {
                task.held_out_sample(index, &mut rng, input, target)
            })
        };
        let sequences = (0..task.held_out()).map(sequence).collect();
        let sequences = Arc::new(InMemDataset::new(sequences));
        let task = OfTask(task);
        Self {
            batches: DataLoaderBuilder::new(task.clone())
                .batch_size(batch)
                .set_device(device.clone())
                .build(sequences.clone()),
            task,
            device: device.clone(),
            sequences,
        }
    }

    /// One of the sequences.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn sequence(&self, index: usize) -> Result<Sequence, DatasetError> {
        self.sequences.get(index)
    }

    /// A batch of some of the sequences.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn batch(&self, indices: Range<usize>) -> Result<Batch, DatasetError> {
        let sequences = self.sequences.get_many(indices.collect())?;
        Ok(self.task.batch(sequences, &self.device))
    }
}

/// The held-out data at the pauses with an evaluation, nothing at the others: burn-train goes through it at each
/// of them.
#[derive(Clone)]
pub struct Evaluations {
    /// The training data, which knows the updates made.
    fresh: FreshBatches,
    held_out: Arc<dyn DataLoader<Batch>>,
    nothing: Arc<dyn DataLoader<Batch>>,
}

impl Evaluations {
    /// Evaluations on `held_out` at the pauses of `fresh`.
    pub fn new(fresh: &FreshBatches, held_out: &HeldOut) -> Self {
        Self {
            fresh: fresh.clone(),
            held_out: held_out.batches.clone(),
            nothing: held_out.batches.slice(0, 0),
        }
    }
}

impl DataLoader<Batch> for Evaluations {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        match self.fresh.take_evaluation() {
            true => self.held_out.iter(),
            false => self.nothing.iter(),
        }
    }

    fn num_items(&self) -> usize {
        self.held_out.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            held_out: self.held_out.to_device(device),
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            held_out: self.held_out.slice(start, end),
            ..self.clone()
        })
    }
}
