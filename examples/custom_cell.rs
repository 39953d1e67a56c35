//! A new recurrent cell in thirty lines, and what the library then does with it:
//! `cargo run --release --bin custom_cell`
//!
//! The cell is the minimal gated unit of Zhou, Wu, Zhang & Zhou (2016), *Minimal gated unit for recurrent
//! neural networks*: a GRU with one gate. It learns to read handwritten digits, row by row.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorCreationOptions, TensorData};
use lstm_core::{Cell, Recurrent};

// -- The cell ---------------------------------------------------------------------------------------------

#[derive(Module, Debug)]
struct MinimalGatedUnit {
    forget: Linear,
    candidate: Linear,
    d_input: usize,
}

impl Cell for MinimalGatedUnit {
    type State = Tensor<2>; // h, which is the output too

    fn d_input(&self) -> usize {
        self.d_input
    }

    fn d_output(&self) -> usize {
        self.forget.weight.dims()[1]
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
        Tensor::zeros([batch, self.d_output()], options)
    }

    // f = σ(W_f [h, x] + b_f)    h~ = tanh(W_h [f ⊙ h, x] + b_h)    h' = (1 − f) ⊙ h + f ⊙ h~
    fn step_projected(&self, x: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
        let beside_x = |h: Tensor<2>| Tensor::cat(vec![h, x.clone()], 1);
        let f = sigmoid(self.forget.forward(beside_x(h.clone())));
        let candidate = self.candidate.forward(beside_x(f.clone() * h.clone()));
        h.clone() + f * (candidate.tanh() - h)
    }
}

impl MinimalGatedUnit {
    fn new(d_input: usize, d_hidden: usize, device: &Device) -> Self {
        let linear = || LinearConfig::new(d_hidden + d_input, d_hidden).init(device);
        Self {
            forget: linear(),
            candidate: linear(),
            d_input,
        }
    }
}

// -- What it is good for ----------------------------------------------------------------------------------

const SIDE: usize = 8;
const TRAINING: usize = 1_437;
const BATCH: usize = 32;
const EPOCHS: usize = 20;

#[derive(Module, Debug)]
struct Reader {
    rows: Recurrent<MinimalGatedUnit>,
    head: Linear,
}

impl Reader {
    /// From images `[B, 8, 8]` to a score for each digit, `[B, 10]`.
    fn forward(&self, images: Tensor<3>) -> Tensor<2> {
        let (_outputs, last) = self.rows.forward(images, None);
        self.head.forward(last)
    }
}

/// An image, its pixels from 0 to 1, and its digit.
type Image = (Vec<f32>, i32);

fn images() -> Vec<Image> {
    let file = include_str!("../assets/digits/digits.csv");
    let image = |line: &str| {
        let numbers = line
            .split(',')
            .map(|number| number.parse().expect("a number"));
        let mut numbers: Vec<i32> = numbers.collect();
        let digit = numbers.pop().expect("the digit is the last number");
        (
            numbers.iter().map(|pixel| *pixel as f32 / 16.0).collect(),
            digit,
        )
    };
    file.lines().map(image).collect()
}

fn batch(images: &[Image], device: &Device) -> (Tensor<3>, Tensor<1, Int>) {
    let pixels: Vec<f32> = images.iter().flat_map(|image| image.0.clone()).collect();
    let digits: Vec<i32> = images.iter().map(|image| image.1).collect();
    let pixels = TensorData::new(pixels, [images.len(), SIDE, SIDE]);
    let digits = TensorData::new(digits, [images.len()]);
    (
        Tensor::from_data(pixels, device),
        Tensor::from_data(digits, device),
    )
}

fn main() {
    let device = Device::flex();
    device.seed(1);
    let images = images();
    let (train, test) = images.split_at(TRAINING);

    let training = device.clone().autodiff();
    let mut reader = Reader {
        rows: Recurrent::new(MinimalGatedUnit::new(SIDE, 64, &training)),
        head: LinearConfig::new(64, 10).init(&training),
    };
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&training);
    for epoch in 1..=EPOCHS {
        let mut sum = 0.0;
        // The images come in a mixed order, the same in each epoch. Your own: shuffle them anew in each.
        for images in train.chunks(BATCH) {
            let (pixels, digits) = batch(images, &training);
            let loss = loss.forward(reader.forward(pixels), digits);
            let gradients = GradientsParams::from_grads(loss.backward(), &reader);
            reader = optimizer.step(0.005, reader, gradients);
            sum += loss.into_scalar::<f32>();
        }
        let batches = train.len().div_ceil(BATCH);
        println!("epoch {epoch:2}: training loss {:.3}", sum / batches as f32);
    }

    let (pixels, digits) = batch(test, &device);
    let scores = reader.valid().forward(pixels);
    let answers = scores.argmax(1).squeeze_dim::<1>(1);
    let right: i32 = answers.equal(digits).int().sum().into_scalar();
    println!("{right} of {} digits right", test.len());
}
