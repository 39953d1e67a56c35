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
    #[arg(long, default_value_t = 600)]
    updates: usize,
    #[arg(long, default_value_t = 64, value_parser = at_least::<1>)]
    hidden: usize,
    /// The longest word.
    #[arg(long, default_value_t = 20, value_parser = at_least::<3>)]
    longest: usize,
    /// On which side words that are shorter than the longest of their batch are padded.
    #[arg(long, default_value = "right")]
    padding: Side,
}

/// A number from `LEAST` on.
fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| *size >= LEAST);
    size.ok_or_else(|| format!("expected a whole number of at least {LEAST}"))
}

#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Left,
    Right,
}

// -- Words ------------------------------------------------------------------------------------------------

const LETTERS: usize = 8;
const TAGS: usize = 4;
/// Stands for a letter where there is none.
const PAD: i32 = LETTERS as i32;

/// Letters, and their tags.
type Word = Vec<(usize, usize)>;

/// Words of 3 to `longest` letters, from a small generator.
fn words(count: usize, longest: usize, mut seed: u32) -> Vec<Word> {
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % n
    };
    let word = |_| {
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
    (0..count).map(word).collect()
}

/// Words as tensors `[B, T]`, as long as the longest of them.
struct Batch {
    letters: Tensor<2, Int>,
    /// Which steps hold a letter.
    valid: Tensor<2, Bool>,
    /// The same by their numbers, counted through all rows, `[N]`.
    places: Tensor<1, Int>,
    /// Their tags, `[N]`.
    tags: Tensor<1, Int>,
}

impl Batch {
    fn new(words: &[Word], padding: Side, device: &Device) -> Self {
        let steps = words.iter().map(Vec::len).max().unwrap_or(0);
        let mut letters = vec![PAD; words.len() * steps];
        let (mut places, mut tags) = (vec![], vec![]);
        for (row, word) in words.iter().enumerate() {
            let start = match padding {
                Side::Left => (row + 1) * steps - word.len(),
                Side::Right => row * steps,
            };
            for (t, (letter, tag)) in word.iter().enumerate() {
                letters[start + t] = *letter as i32;
                places.push((start + t) as i32);
                tags.push(*tag as i32);
            }
        }
        let letters = TensorData::new(letters, [words.len(), steps]);
        let letters = Tensor::<2, Int>::from_data(letters, device);
        Self {
            valid: letters.clone().not_equal_elem(PAD),
            letters,
            places: Tensor::from_data(places.as_slice(), device),
            tags: Tensor::from_data(tags.as_slice(), device),
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

    /// A score for each tag of the letters that there are, `[N, TAGS]`.
    fn forward(&self, batch: &Batch) -> Tensor<2> {
        let letters = self.letters.forward(batch.letters.clone());
        // Steps without a letter are not read, in either direction: a word begins with its own first or last letter.
        let (output, _) = self
            .layer
            .forward_with_mask(letters, None, batch.valid.clone());
        let all = output.flatten::<2>(0, 1);
        self.head.forward(all.select(0, batch.places.clone()))
    }
}

/// Percent for which something holds.
fn percent(holds: Tensor<1, Bool>) -> f32 {
    100.0 * holds.float().mean().into_scalar::<f32>()
}

fn main() {
    let args = Args::parse();
    let device = Device::flex();
    device.seed(1);
    let training = device.clone().autodiff();
    let mut tagger = Tagger::new(args.hidden, &training);
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&training);
    for k in 1..=args.updates {
        let batch = Batch::new(&words(64, args.longest, k as u32), args.padding, &training);
        let loss = loss.forward(tagger.forward(&batch), batch.tags);
        let gradients = GradientsParams::from_grads(loss.backward(), &tagger);
        tagger = optimizer.step(0.005, tagger, gradients);
        if k % args.updates.div_ceil(5) == 0 {
            println!("update {k:4}: loss {:.3}", loss.into_scalar::<f32>());
        }
    }

    let tagger = tagger.valid();
    let words = words(1_000, args.longest, 0);
    let [right, left] = [Side::Right, Side::Left].map(|side| Batch::new(&words, side, &device));
    for tag in 0..TAGS {
        let share = percent(right.tags.clone().equal_elem(tag as i32));
        println!("always tag {tag}: {share:.1} % correct");
    }
    for (batch, side) in [(right, "right"), (left, "left")] {
        let answers = tagger.forward(&batch).argmax(1).squeeze_dim::<1>(1);
        let share = percent(answers.equal(batch.tags));
        println!("the tagger, padded on the {side}: {share:.2} % correct");
    }
}
