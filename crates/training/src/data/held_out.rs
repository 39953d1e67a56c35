//! The sequences that are held out, and when they are measured on.

use super::batch::{Batch, HostBatch, Stream, random_numbers};
use super::fresh::FreshBatches;
use crate::task::Task;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use std::sync::Arc;

/// The sequences that are never trained on, the same in every pass.
#[derive(Clone)]
pub struct HeldOut {
    task: Arc<dyn Task>,
    device: Device,
    batches: Arc<Vec<HostBatch>>,
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
        let count = task.held_out();
        let batches = (0..count).step_by(batch).map(|first| {
            let size = batch.min(count - first);
            HostBatch::new(&*task, size, |k, input, target| {
                task.held_out_sample(first + k, &mut rng, input, target)
            })
        });
        Self {
            batches: Arc::new(batches.collect()),
            task,
            device: device.clone(),
        }
    }

    fn part(&self, start: usize, end: usize) -> Self {
        let batches = self.batches[start..end].iter();
        let host = batches.map(|batch| batch.rows(0..batch.size));
        Self {
            batches: Arc::new(host.collect()),
            ..self.clone()
        }
    }
}

impl HeldOut {
    /// The first sequences, at most a batch of them.
    pub fn first(&self, count: usize) -> Option<Batch> {
        let host = self.batches.first()?;
        let first = host.rows(0..count.min(host.size));
        Some(first.to(&*self.task, &self.device))
    }

    /// Input and target of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn sequence(&self, index: usize) -> (Vec<f32>, Vec<f32>) {
        let HostBatch { input, target, .. } = self.row(index);
        (input, target)
    }

    /// A batch of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn one(&self, index: usize) -> Batch {
        self.row(index).to(&*self.task, &self.device)
    }

    fn row(&self, index: usize) -> HostBatch {
        let batch = self.batches[0].size;
        let row = index % batch;
        self.batches[index / batch].rows(row..row + 1)
    }
}

impl DataLoader<Batch> for HeldOut {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(HeldOutPass {
            held_out: self,
            done: 0,
        })
    }

    fn num_items(&self) -> usize {
        self.batches.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.part(start, end))
    }
}

struct HeldOutPass<'a> {
    held_out: &'a HeldOut,
    done: usize,
}

impl Iterator for HeldOutPass<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let HeldOut {
            task,
            device,
            batches,
        } = self.held_out;
        let host = batches.get(self.done)?;
        self.done += 1;
        Some(Ok(host.to(&**task, device)))
    }
}

impl DataLoaderIterator<Batch> for HeldOutPass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(
            self.done,
            self.held_out.num_items(),
            Some("batches".to_string()),
        )
    }
}

/// The held-out data at the pauses with an evaluation, nothing at the others: burn-train goes through it at each
/// of them.
#[derive(Clone)]
pub struct Evaluations {
    /// The training data, which knows the updates made.
    pub fresh: FreshBatches,
    /// What is measured on.
    pub held_out: HeldOut,
}

impl DataLoader<Batch> for Evaluations {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let done = match self.fresh.take_evaluation() {
            true => 0,
            false => self.held_out.num_items(),
        };
        Box::new(HeldOutPass {
            held_out: &self.held_out,
            done,
        })
    }

    fn num_items(&self) -> usize {
        self.held_out.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        let held_out = HeldOut {
            device: device.clone(),
            ..self.held_out.clone()
        };
        Arc::new(Self {
            held_out,
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let held_out = self.held_out.part(start, end);
        Arc::new(Self {
            held_out,
            ..self.clone()
        })
    }
}
