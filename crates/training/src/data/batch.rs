//! From a task's samples to tensors.

use crate::task::{Goal, Task};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::ops::Range;

/// Streams of a seed's random numbers, so that training and held-out data never overlap.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Sequences to train on.
    Training = 1,
    /// Sequences to measure on.
    HeldOut = 2,
    /// What a network draws while it trains.
    Network = 3,
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
pub struct HostBatch {
    /// Sequences.
    pub size: usize,
    /// `[B, T, I]`
    pub input: Vec<f32>,
    /// As [`Task::sample`] writes them.
    pub target: Vec<f32>,
}

impl HostBatch {
    /// A batch of so many sequences, number `k` of which `sample` writes.
    pub fn new(
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

    /// A batch of some of the sequences.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let cut = |values: &[f32]| {
            let width = values.len() / self.size;
            values[rows.start * width..rows.end * width].to_vec()
        };
        Self {
            size: rows.len(),
            input: cut(&self.input),
            target: cut(&self.target),
        }
    }

    /// A batch of fresh sequences.
    pub fn draw(task: &dyn Task, size: usize, rng: &mut ChaCha8Rng) -> Self {
        Self::new(task, size, |_, input, target| {
            task.sample(rng, input, target)
        })
    }

    /// The batch on a device.
    pub fn to(&self, task: &dyn Task, device: &Device) -> Batch {
        let (size, length) = (self.size, task.length());
        let input = TensorData::new(self.input.clone(), [size, length, task.d_input()]);
        let target = match task.goal() {
            Goal::Class(_) => {
                let classes: Vec<i32> = self.target.iter().map(|class| *class as i32).collect();
                Target::Class(Tensor::from_data(TensorData::new(classes, [size]), device))
            }
            Goal::Value(_) => {
                let values = TensorData::new(self.target.clone(), [size]);
                Target::Value(Tensor::from_data(values, device))
            }
            Goal::Steps(count) => {
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
