//! From a task's samples to batches on a device: fresh ones for training, fixed ones held out.

use crate::task::{Goal, Task};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::sync::{Arc, Mutex, PoisonError};

/// Streams of a seed's random numbers, so that training and held-out data never overlap.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Sequences to train on.
    Training = 1,
    /// Sequences to measure on.
    HeldOut = 2,
}

/// The random numbers of one stream.
pub fn random_numbers(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// A batch of labelled sequences.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[B, T, I]`
    pub input: Tensor<3>,
    /// What the network must say of each.
    pub target: Target,
}

/// The targets of a batch.
#[derive(Clone, Debug)]
pub enum Target {
    /// Class indices, `[B]`
    Class(Tensor<1, Int>),
    /// Values, `[B]`
    Value(Tensor<1>),
    /// Probabilities of the classes that may come, `[B, T, O]`; all zero at steps that aren't scored
    Steps(Tensor<3>),
}

/// A batch on the host: inputs and targets of all its sequences, one after the other.
struct HostBatch {
    size: usize,
    input: Vec<f32>,
    target: Vec<f32>,
}

impl HostBatch {
    /// A batch of so many sequences, number `k` of which `sample` writes.
    fn new(
        task: &dyn Task,
        size: usize,
        mut sample: impl FnMut(usize, &mut [f32], &mut [f32]),
    ) -> Self {
        let d_sequence = task.length() * task.d_input();
        let d_target = task.goal().d_target(task.length());
        let mut input = vec![0.0; size * d_sequence];
        let mut target = vec![0.0; size * d_target];
        let sequences = input.chunks_exact_mut(d_sequence);
        for (k, (input, target)) in sequences.zip(target.chunks_exact_mut(d_target)).enumerate() {
            sample(k, input, target);
        }
        Self {
            size,
            input,
            target,
        }
    }

    fn draw(task: &dyn Task, size: usize, rng: &mut ChaCha8Rng) -> Self {
        Self::new(task, size, |_, input, target| {
            task.sample(rng, input, target)
        })
    }

    fn to(&self, task: &dyn Task, device: &Device) -> Batch {
        let (size, length) = (self.size, task.length());
        let input = TensorData::new(self.input.clone(), [size, length, task.d_input()]);
        let target = match task.goal() {
            Goal::Class { .. } => {
                let classes: Vec<i32> = self.target.iter().map(|class| *class as i32).collect();
                Target::Class(Tensor::from_data(TensorData::new(classes, [size]), device))
            }
            Goal::Value { .. } => {
                let values = TensorData::new(self.target.clone(), [size]);
                Target::Value(Tensor::from_data(values, device))
            }
            Goal::Steps { count } => {
                let rows = TensorData::new(self.target.clone(), [size, length, count]);
                Target::Steps(Tensor::from_data(rows, device))
            }
        };
        Batch {
            input: Tensor::from_data(input, device),
            target,
        }
    }
}

/// Fresh batches for training, never the same twice. Each pass over the loader is the updates until
/// the next look at the held-out data.
#[derive(Clone)]
pub struct FreshBatches {
    task: Arc<dyn Task>,
    batch: usize,
    updates_a_pass: usize,
    device: Device,
    source: Arc<Mutex<Source>>,
}

/// What the passes share.
struct Source {
    rng: ChaCha8Rng,
    updates_left: usize,
    updates_made: usize,
}

impl FreshBatches {
    /// Batches for `updates` updates in passes of `updates_a_pass`.
    pub fn new(
        task: Arc<dyn Task>,
        batch: usize,
        updates: usize,
        updates_a_pass: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let source = Source {
            rng: random_numbers(seed, Stream::Training),
            updates_left: updates,
            updates_made: 0,
        };
        Self {
            task,
            batch,
            updates_a_pass,
            device: device.clone(),
            source: Arc::new(Mutex::new(source)),
        }
    }

    /// Batches handed out so far, each good for one update.
    pub fn updates_made(&self) -> usize {
        self.source().updates_made
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataLoader<Batch> for FreshBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Pass {
            loader: self,
            done: 0,
            total: self.num_items(),
        })
    }

    /// Updates, not sequences: the items of this loader are batches.
    fn num_items(&self) -> usize {
        self.updates_a_pass.min(self.source().updates_left)
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    /// Fresh data has no order to cut from: every slice is the whole, from the same source.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.clone())
    }
}

struct Pass<'a> {
    loader: &'a FreshBatches,
    done: usize,
    total: usize,
}

impl Iterator for Pass<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.total {
            return None;
        }
        self.done += 1;
        let FreshBatches { task, batch, .. } = self.loader;
        let mut source = self.loader.source();
        source.updates_left -= 1;
        source.updates_made += 1;
        let host = HostBatch::draw(&**task, *batch, &mut source.rng);
        Some(Ok(host.to(&**task, &self.loader.device)))
    }
}

impl DataLoaderIterator<Batch> for Pass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("updates".to_string()))
    }
}

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
        let mut rng = random_numbers(seed, Stream::HeldOut);
        let count = task.held_out();
        let batches = (0..count).step_by(Self::BATCH).map(|first| {
            let size = Self::BATCH.min(count - first);
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
}

impl HeldOut {
    /// The first sequences, at most a batch of them.
    pub fn first(&self, count: usize) -> Option<Batch> {
        let host = self.batches.first()?;
        let count = count.min(host.size);
        let (input, target) = (host.input.len() / host.size, host.target.len() / host.size);
        let cut = HostBatch {
            size: count,
            input: host.input[..count * input].to_vec(),
            target: host.target[..count * target].to_vec(),
        };
        Some(cut.to(&*self.task, &self.device))
    }

    /// Input and target of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn sequence(&self, index: usize) -> (Vec<f32>, Vec<f32>) {
        let host = &self.batches[index / Self::BATCH];
        let row = index % Self::BATCH;
        let cut = |values: &[f32]| {
            let width = values.len() / host.size;
            values[row * width..(row + 1) * width].to_vec()
        };
        (cut(&host.input), cut(&host.target))
    }

    /// A batch of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn one(&self, index: usize) -> Batch {
        let (input, target) = self.sequence(index);
        let size = 1;
        let host = HostBatch {
            size,
            input,
            target,
        };
        host.to(&*self.task, &self.device)
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
        let host = self.batches[start..end].iter().map(|batch| HostBatch {
            size: batch.size,
            input: batch.input.clone(),
            target: batch.target.clone(),
        });
        Arc::new(Self {
            batches: Arc::new(host.collect()),
            ..self.clone()
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskName;

    fn fresh(seed: u64, updates: usize) -> FreshBatches {
        let task = TaskName::Adding.with_gap(5);
        FreshBatches::new(task, 4, updates, 3, seed, &Device::flex())
    }

    fn inputs(loader: &dyn DataLoader<Batch>) -> Vec<Vec<f32>> {
        let batches = loader.iter().map(|batch| batch.unwrap().input.into_data());
        batches.map(|data| data.iter::<f32>().collect()).collect()
    }

    #[test]
    fn passes_are_fresh_and_end_with_the_updates() {
        let loader = fresh(1, 7);
        let (a, b, c) = (inputs(&loader), inputs(&loader), inputs(&loader));
        assert_eq!((a.len(), b.len(), c.len()), (3, 3, 1));
        assert_ne!(a[0], b[0]);
        assert_eq!(loader.updates_made(), 7);
        assert!(inputs(&loader).is_empty());
    }

    #[test]
    fn a_data_set_is_held_out_in_its_order_and_whatever_the_seed() {
        let held_out = |seed| {
            let task = TaskName::DigitsRows.with_gap(0);
            inputs(&HeldOut::new(task, seed, &Device::flex())).concat()
        };
        let test = held_out(1);
        assert_eq!(test, held_out(2));
        let task = TaskName::DigitsRows.with_gap(0);
        assert_eq!(test.len(), 360 * 64);
        for index in [0, 249, 250, 359] {
            let (mut input, mut target) = ([0.0; 64], [0.0]);
            let mut rng = random_numbers(3, Stream::HeldOut);
            task.held_out_sample(index, &mut rng, &mut input, &mut target);
            assert_eq!(test[64 * index..][..64], input);
        }
    }

    #[test]
    fn a_seed_gives_the_same_batches_twice_and_held_out_data_of_its_own() {
        assert_eq!(inputs(&fresh(1, 3)), inputs(&fresh(1, 3)));
        assert_ne!(inputs(&fresh(1, 3)), inputs(&fresh(2, 3)));
        let task = TaskName::Adding.with_gap(5);
        let held_out = HeldOut::new(task, 1, &Device::flex());
        let first = inputs(&held_out);
        assert_eq!(first, inputs(&held_out));
        assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 2_000 * 10 * 2);
        let training = inputs(&fresh(1, 3));
        assert_ne!(first[0][..20], training[0][..20]);
    }
}
