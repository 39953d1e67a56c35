//! A Burn project that uses the library like any other module: a model of an embedding, an Lstm and a
//! linear map, trained with burn-train: `cargo run --release --bin burn_project`
//!
//! The task: is the first of ten letters an A or a B?

use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use lstm_core::{Lstm, LstmConfig};
use std::error::Error;

const LETTERS: usize = 6;
const LENGTH: usize = 10;

#[derive(Module, Debug)]
struct Model {
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(LETTERS, 8).init(device),
            lstm: LstmConfig::new(8, 16, true).init(device),
            head: LinearConfig::new(16, 2).init(device),
        }
    }

    fn forward(&self, words: Words) -> ClassificationOutput {
        let (_outputs, state) = self
            .lstm
            .forward(self.embedding.forward(words.letters), None);
        let output = self.head.forward(state.hidden);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), words.labels.clone());
        ClassificationOutput::new(loss, output, words.labels)
    }
}

impl TrainStep for Model {
    type Input = Words;
    type Output = ClassificationOutput;

    fn step(&self, words: Words) -> TrainOutput<ClassificationOutput> {
        let item = self.forward(words);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Model {
    type Input = Words;
    type Output = ClassificationOutput;

    fn step(&self, words: Words) -> ClassificationOutput {
        self.forward(words)
    }
}

/// A batch: letters `[B, T]` and labels `[B]`.
#[derive(Clone, Debug)]
struct Words {
    letters: Tensor<2, Int>,
    labels: Tensor<1, Int>,
}

#[derive(Clone)]
struct WordBatcher;

impl Batcher<[i32; LENGTH], Words> for WordBatcher {
    fn batch(&self, words: Vec<[i32; LENGTH]>, device: &Device) -> Words {
        let labels: Vec<i32> = words.iter().map(|word| word[0]).collect();
        let shape = [words.len(), LENGTH];
        let letters = TensorData::new(words.into_iter().flatten().collect(), shape);
        Words {
            letters: Tensor::from_data(letters, device),
            labels: Tensor::from_data(TensorData::new(labels, [shape[0]]), device),
        }
    }
}

/// Words whose first letter is 0 or 1 and whose others are 2 to 5, from a small generator.
fn words(count: usize, mut seed: u32) -> InMemDataset<[i32; LENGTH]> {
    let mut below = |n: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((seed >> 16) % n) as i32
    };
    let word = |_| std::array::from_fn(|t| if t == 0 { below(2) } else { 2 + below(4) });
    InMemDataset::new((0..count).map(word).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(1);
    let loader = || {
        DataLoaderBuilder::new(WordBatcher)
            .batch_size(32)
            .set_device(device.clone())
    };
    let train = loader().shuffle(1).build(words(1_600, 1));
    let valid = loader().build(words(320, 2));

    // For burn-train's logs, which a project of your own keeps.
    let folder = tempfile::tempdir()?;
    let model = Model::new(&device.clone().autodiff());
    let result = SupervisedTraining::new(folder.path(), train, valid.clone())
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .num_epochs(3)
        .launch(Learner::new(model, AdamConfig::new().init(), 0.01));
    // In a terminal, burn-train's dashboard has the screen for as long as it lives: what is printed before is lost.
    drop(result.renderer);
    if let Some(error) = result.error {
        return Err(error.into());
    }

    let mut right = 0;
    for batch in valid.iter() {
        let words = batch.expect("the words are in memory");
        let answers = result.model.forward(words.clone()).output.argmax(1);
        let equal = answers.squeeze_dim::<1>(1).equal(words.labels).int().sum();
        right += equal.into_scalar::<i32>();
    }
    println!("{right} of 320 words right");
    Ok(())
}
