//! From a task's samples to tensors.

use crate::task::{Goal, Task};
use burn::data::dataloader::batcher::Batcher;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

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

/// A labelled sequence on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// `[T, I]`
    pub input: Vec<f32>,
    /// As [`Task::sample`] writes it.
    pub target: Vec<f32>,
}

impl Sequence {
    /// A sequence that `sample` writes.
    pub fn new(task: &dyn Task, sample: impl FnOnce(&mut [f32], &mut [f32])) -> Self {
        let mut input = vec![0.0; task.length() * task.d_input()];
        let mut target = vec![0.0; task.goal().d_target(task.length())];
        sample(&mut input, &mut target);
        Self { input, target }
    }
}

/// Makes batches of a task's sequences.
#[derive(Clone)]
pub struct OfTask(pub Arc<dyn Task>);

impl Batcher<Sequence, Batch> for OfTask {
    fn batch(&self, sequences: Vec<Sequence>, device: &Device) -> Batch {
        let Self(task) = self;
        let (size, length) = (sequences.len(), task.length());
        let all = |of: fn(&Sequence) -> &[f32]| {
            let parts: Vec<&[f32]> = sequences.iter().map(of).collect();
            parts.concat()
        };
        let input = TensorData::new(all(|one| &one.input), [size, length, task.d_input()]);
        let target = all(|one| &one.target);
        let target = match task.goal() {
            Goal::Class(_) => {
                let classes: Vec<i32> = target.iter().map(|class| *class as i32).collect();
                Target::Class(Tensor::from_data(TensorData::new(classes, [size]), device))
            }
            Goal::Value(_) => {
                let values = TensorData::new(target, [size]);
                Target::Value(Tensor::from_data(values, device))
            }
            Goal::Steps(count) => {
                let rows = TensorData::new(target, [size, length, count]);
                Target::Steps(Tensor::from_data(rows, device))
            }
        };
        Batch {
            input: Tensor::from_data(input, device),
            target,
        }
    }
}
