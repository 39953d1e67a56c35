//! A tagger: sequences of different lengths in one batch, read in both directions:
//! `cargo run --release --bin tagger`
//!
//! Each letter of a word gets one of four tags: does it occur for the first time in the word, and for the last?
//! For the first, what came before must be known; for the last, what comes after.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clap::{Parser, ValueEnum};
use lstm_core::{BiLstm, BiLstmConfig};

/// Learns to tag letters.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1_500)]
    updates: usize,
    #[arg(long, default_value_t = 64)]
    hidden: usize,
    /// The longest word.
    #[arg(long, default_value_t = 20)]
    longest: usize,
    /// Where words that are shorter than the longest of their batch are filled up.
    #[arg(long, default_value = "right")]
    padding: Side,
}

#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Left,
    Right,
}

// -- Words ------------------------------------------------------------------------------------------------

const LETTERS: usize = 8;
const TAGS: usize = 4;
/// Stands for a letter and for a tag where there is none.
const PAD: usize = 8;

/// Letters, and their tags.
type Word = Vec<(usize, usize)>;

/// Words of 3 to `longest` letters, from a small generator.
fn words(count: usize, longest: usize, mut seed: u32) -> Vec<Word> {
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % n
    };
    let mut word = |_| {
        let letters: Vec<usize> = (0..3 + below(longest - 2))
            .map(|_| below(LETTERS))
            .collect();
        let tag = |(t, letter): (usize, &usize)| {
            let first = !letters[..t].contains(letter);
            let last = !letters[t + 1..].contains(letter);
            (*letter, 2 * usize::from(first) + usize::from(last))
        };
        letters.iter().enumerate().map(tag).collect()
    };
    (0..count).map(|k| word(k)).collect()
}

/// Words as tensors `[B, T]`, as long as the longest of them.
struct Batch {
    letters: Tensor<2, Int>,
    tags: Tensor<2, Int>,
    /// Which steps hold a letter.
    valid: Tensor<2, Bool>,
}

impl Batch {
    fn new(words: &[Word], padding: Side, device: &Device) -> Self {
        let steps = words.iter().map(Vec::len).max().unwrap_or(0);
        let filled = words.iter().flat_map(|word| {
            let nothing = vec![(PAD, PAD); steps - word.len()];
            match padding {
                Side::Right => [word.clone(), nothing].concat(),
                Side::Left => [nothing, word.clone()].concat(),
            }
        });
        let (letters, tags): (Vec<_>, Vec<_>) = filled.map(|(l, t)| (l as i32, t as i32)).unzip();
        let shape = [words.len(), steps];
        let letters = Tensor::<2, Int>::from_data(TensorData::new(letters, shape), device);
        Self {
            valid: letters.clone().not_equal_elem(PAD as i32),
            letters,
            tags: Tensor::from_data(TensorData::new(tags, shape), device),
        }
    }
}

// -- The model --------------------------------------------------------------------------------------------

#[derive(Module, Debug)]
struct Tagger {
    letters: Embedding,
    layer: BiLstm,
    head: Linear,
}

impl Tagger {
    fn new(hidden: usize, device: &Device) -> Self {
        Self {
            letters: EmbeddingConfig::new(LETTERS + 1, 16).init(device),
            layer: BiLstmConfig::new(16, hidden, true).init(device),
            head: LinearConfig::new(2 * hidden, TAGS).init(device),
        }
    }

    /// A score for each tag of each letter, `[B, T, TAGS]`.
    fn forward(&self, batch: &Batch) -> Tensor<3> {
        let letters = self.letters.forward(batch.letters.clone());
        // Steps that hold no letter are not read, in either direction: a word begins with its own first or last letter.
        let (output, _) = self
            .layer
            .forward_with_mask(letters, None, batch.valid.clone());
        self.head.forward(output)
    }

    /// The mean loss of the letters that there are.
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let scores = self.forward(batch).flatten(0, 1);
        let loss = CrossEntropyLossConfig::new().with_pad_tokens(Some(vec![PAD]));
        let loss = loss.init(&scores.device());
        loss.forward(scores, batch.tags.clone().flatten(0, 1))
    }
}

/// Percent of `letters` for which something holds.
fn percent(holds: Tensor<2, Bool>, letters: usize) -> f64 {
    100.0 * f64::from(holds.int().sum().into_scalar::<i32>()) / letters as f64
}

fn main() {
    let args = Args::parse();
    let device = Device::flex();
    device.seed(1);
    let training = device.clone().autodiff();
    let mut tagger = Tagger::new(args.hidden, &training);
    let mut optimizer = AdamConfig::new().init();
    for k in 1..=args.updates {
        let words = words(64, args.longest, k as u32);
        let loss = tagger.loss(&Batch::new(&words, args.padding, &training));
        let gradients = GradientsParams::from_grads(loss.backward(), &tagger);
        tagger = optimizer.step(0.005, tagger, gradients);
        if k % args.updates.div_ceil(5) == 0 {
            println!("update {k:4}: loss {:.3}", loss.into_scalar::<f32>());
        }
    }

    let tagger = tagger.valid();
    let words = words(1_000, args.longest, 0);
    let letters = words.iter().map(Vec::len).sum();
    let [right, left] = [Side::Right, Side::Left].map(|side| Batch::new(&words, side, &device));
    for tag in 0..TAGS {
        let share = percent(right.tags.clone().equal_elem(tag as i32), letters);
        println!("always tag {tag}: {share:.1} % right");
    }
    for (batch, side) in [(right, "right"), (left, "left")] {
        let answers = tagger.forward(&batch).argmax(2).squeeze_dim::<2>(2);
        let share = percent(answers.equal(batch.tags), letters);
        println!("the tagger, filled up on the {side}: {share:.2} % of {letters} letters right");
    }
}
