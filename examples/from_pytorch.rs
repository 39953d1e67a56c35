//! A model from PyTorch, trained on in Burn, and back: `cargo run --release --bin from_pytorch`
//!
//! `assets/pytorch/digits.pt` is a checkpoint of a network that reads an image of a digit row by row: two
//! bidirectional LSTMs, a batch normalisation, a linear map. (`examples/tests/from_pytorch.py` has made it, and
//! loads what comes back.)

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData, s};
use clap::Parser;
use lstm_core::convert::{self, Weights};
use lstm_core::{LstmStack, LstmStackConfig};
use std::error::Error;
use std::path::PathBuf;

/// Takes a model from PyTorch, trains it on, and gives it back.
#[derive(Parser)]
struct Args {
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/pytorch/digits.pt"))]
    checkpoint: PathBuf,
    /// Where the trained weights go, under PyTorch's names.
    #[arg(long, default_value = "digits.safetensors")]
    output: PathBuf,
    #[arg(long, default_value_t = 20)]
    epochs: usize,
}

/// The fields have the names of PyTorch's submodules.
#[derive(Module, Debug)]
struct Reader {
    rnn: LstmStack,
    norm: BatchNorm,
    head: Linear,
}

impl Reader {
    fn new(device: &Device) -> Self {
        let rnn = LstmStackConfig::new(8, 32, 2, true).with_bidirectional(true);
        Self {
            rnn: rnn.init(device),
            norm: BatchNormConfig::new(64).init(device),
            head: LinearConfig::new(64, 10).init(device),
        }
    }

    /// From images `[B, 8, 8]` to a score for each digit, `[B, 10]`.
    fn forward(&self, images: Tensor<3>) -> Tensor<2> {
        // The final hidden states are [L·D, B, H] in the order of PyTorch's: the last two are the upper layer's.
        let (_, state) = self.rnn.forward(images, None);
        let [forward, reverse] =
            [2, 3].map(|k| state.hidden.clone().slice(s![k, .., ..]).squeeze_dim(0));
        let both = Tensor::<2>::cat(vec![forward, reverse], 1);
        self.head.forward(self.norm.forward(both))
    }
}

/// Images, `[B, 8, 8]`, and their digits.
fn batch(lines: &[&str], device: &Device) -> (Tensor<3>, Tensor<1, Int>) {
    let (mut pixels, mut digits) = (vec![], vec![]);
    for line in lines {
        let numbers = line.split(',').map(|number| number.parse::<i32>());
        let mut numbers: Vec<i32> = numbers.collect::<Result<_, _>>().expect("numbers");
        digits.extend(numbers.pop());
        pixels.extend(numbers.iter().map(|pixel| *pixel as f32 / 16.0));
    }
    let (pixels, digits) = (
        TensorData::new(pixels, [lines.len(), 8, 8]),
        TensorData::new(digits, [lines.len()]),
    );
    (
        Tensor::from_data(pixels, device),
        Tensor::from_data(digits, device),
    )
}

fn right(reader: &Reader, lines: &[&str], device: &Device) -> i32 {
    let (images, digits) = batch(lines, device);
    let answers = reader.forward(images).argmax(1).squeeze_dim::<1>(1);
    answers.equal(digits).int().sum().into_scalar()
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = Device::flex();
    device.seed(1);
    let training = device.clone().autodiff();
    let lines: Vec<&str> = include_str!("../assets/digits/digits.csv")
        .lines()
        .collect();
    let (train, test) = lines.split_at(1_437);

    // From PyTorch. What it computes for ten images is in the file too: the best test of a conversion.
    let checkpoint = Weights::read(&args.checkpoint)?;
    let mut weights = checkpoint.under("model");
    let mut reader = Reader::new(&training);
    convert::load_pytorch(&mut reader, &weights)?;
    let (images, _) = batch(&test[..10], &device);
    let scores = checkpoint
        .tensor("scores")
        .ok_or("the checkpoint has no scores")?;
    let difference = reader.valid().forward(images) - Tensor::from_data(scores, &device);
    let difference: f32 = difference.abs().max().into_scalar();
    println!("the scores are PyTorch's within {difference:.0e}");
    assert!(difference < 1e-4);
    println!(
        "as it came: {} of {} digits right",
        right(&reader.valid(), test, &device),
        test.len()
    );

    // Trained on. (The images come in a mixed order, the same in each epoch. Your own: shuffle them anew in each.)
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&training);
    for _ in 0..args.epochs {
        for lines in train.chunks(32) {
            let (images, digits) = batch(lines, &training);
            let loss = loss.forward(reader.forward(images), digits);
            let gradients = GradientsParams::from_grads(loss.backward(), &reader);
            reader = optimizer.step(0.002, reader, gradients);
        }
    }
    println!(
        "after {} epochs: {} digits right",
        args.epochs,
        right(&reader.valid(), test, &device)
    );

    // And back. What Burn has no place for, BatchNorm's counter, is in `weights` still.
    convert::store_pytorch(&reader.valid(), &mut weights)?;
    weights.write_safetensors(&args.output)?;
    println!("written to {}", args.output.display());
    Ok(())
}
