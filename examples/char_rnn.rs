//! A character model: it learns a text file, then writes more of the same, one character at a time:
//! `cargo run --release --bin char_rnn -- FILE`
//!
//! The text is cut into rows, which are read side by side. A window of a few steps is an update; the state at its
//! end is the state before the next window (truncated backpropagation through time).

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData, s};
use clap::{Parser, ValueEnum};
use lstm_core::{GruStackConfig, LstmStackConfig, RecurrentLayer, Windows, clip_global_norm};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, ErrorKind, Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// Learns a text, and writes more of it.
#[derive(Parser)]
struct Args {
    /// The text.
    file: PathBuf,
    #[arg(long, default_value = "lstm")]
    cell: Cell,
    #[arg(long, default_value_t = 128, value_parser = size)]
    hidden: usize,
    #[arg(long, default_value_t = 2, value_parser = size)]
    layers: usize,
    /// Probability with which a number is dropped between two layers.
    #[arg(long, default_value_t = 0.2, value_parser = probability)]
    dropout: f64,
    /// Rows read side by side.
    #[arg(long, default_value_t = 32, value_parser = size)]
    rows: usize,
    /// Steps of a window.
    #[arg(long, default_value_t = 64, value_parser = size)]
    steps: usize,
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    #[arg(long, default_value_t = 0.003, value_parser = positive)]
    learning_rate: f64,
    /// Characters to write.
    #[arg(long, default_value_t = 500)]
    write: usize,
    /// Below 1, likely characters become likelier.
    #[arg(long, default_value_t = 0.7, value_parser = positive)]
    temperature: f64,
}

/// A number from 1 on.
fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| *size >= 1);
    size.ok_or_else(|| "expected a whole number of at least 1".to_string())
}

/// A number from 0 to below 1.
fn probability(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to below 1".to_string())
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_string())
}

#[derive(Clone, ValueEnum)]
enum Cell {
    Lstm,
    Gru,
}

/// `L` is the recurrent layers, whatever their cell.
#[derive(Module, Debug)]
struct Model<L: Module> {
    characters: Embedding,
    layers: L,
    scores: Linear,
}

impl<L: RecurrentLayer<3>> Model<L> {
    /// The loss of predicting each next character, in bits a character, and the state after the window.
    /// `window`, `[B, T, 2]`, has the characters and the ones that follow them.
    fn loss(&self, window: Tensor<3, Int>, state: Option<L::State>) -> (Tensor<1>, L::State) {
        let [now, next] = [0, 1].map(|k| window.clone().slice(s![.., .., k..k + 1]));
        let input = self.characters.forward(now.squeeze_dim(2));
        let (output, state) = self.layers.forward_with(input, state, &Default::default());
        let scores = self.scores.forward(output).flatten(0, 1);
        let loss = CrossEntropyLossConfig::new().init(&scores.device());
        let nats = loss.forward(scores, next.flatten(0, 2));
        (nats / std::f64::consts::LN_2, state)
    }

    /// The mean loss of a stream, `[B, T, 2]`. In windows, since a long text as a whole takes gigabytes.
    fn mean_loss(&self, stream: Tensor<3, Int>, steps: usize) -> f64 {
        let (mut sum, all) = (0.0, stream.dims()[1]);
        let mut windows = Windows::new(stream, steps, None);
        while let Some((window, state)) = windows.next() {
            let steps = window.dims()[1];
            let (loss, state) = self.loss(window, state);
            windows.carry(state);
            sum += loss.into_scalar::<f64>() * steps as f64;
        }
        sum / all as f64
    }

    /// The scores of the character after this one, `[1, V]`, and the state for the next step.
    fn step(
        &self,
        character: i32,
        state: Option<L::State>,
        device: &Device,
    ) -> (Tensor<2>, L::State) {
        let character = Tensor::<2, Int>::from_data([[character]], device);
        let input = self.characters.forward(character).squeeze_dim(1);
        let (output, state) = self.layers.step(input, state);
        (self.scores.forward(output), state)
    }
}

/// A text as numbers.
struct Text {
    alphabet: Vec<char>,
    numbers: Vec<i32>,
}

impl Text {
    fn new(text: &str) -> Self {
        let alphabet: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let number = |c| alphabet.binary_search(&c).expect("it is in the text") as i32;
        Self {
            numbers: text.chars().map(number).collect(),
            alphabet,
        }
    }

    /// Bits a character of a model that knows how often each occurs, and nothing else.
    fn entropy(&self) -> f64 {
        let mut counts = vec![0.0; self.alphabet.len()];
        self.numbers.iter().for_each(|k| counts[*k as usize] += 1.0);
        let total = self.numbers.len() as f64;
        counts.iter().map(|n| n / total * (total / n).log2()).sum()
    }
}

/// Characters and the ones that follow them, `[B, T, 2]`; row by row, where the text goes on.
fn stream(text: &[i32], rows: usize, device: &Device) -> Tensor<3, Int> {
    let steps = (text.len() - 1) / rows;
    let pairs = text.windows(2).take(rows * steps).flatten().copied();
    let data = TensorData::new(pairs.collect(), [rows, steps, 2]);
    Tensor::from_data(data, device)
}

fn run<L: RecurrentLayer<3>>(
    layers: L,
    text: &Text,
    args: &Args,
    device: &Device,
) -> io::Result<()> {
    let (count, width) = (text.numbers.len(), text.alphabet.len());
    let mut out = stdout().lock();
    writeln!(
        out,
        "{count} characters, {width} kinds; by their frequencies alone, {:.3} bits a character",
        text.entropy()
    )?;
    let mut model = Model {
        characters: EmbeddingConfig::new(width, args.hidden).init(device),
        layers,
        scores: LinearConfig::new(args.hidden, width).init(device),
    };
    // The last tenth isn't learned from.
    let (train, rest) = text.numbers.split_at(count * 9 / 10);
    let stream = [(train, args.rows), (rest, 1)].map(|(text, rows)| stream(text, rows, device));
    let [train, rest] = stream;

    let mut optimizer = AdamConfig::new().init();
    for epoch in 1..=args.epochs {
        let mut sum = 0.0;
        let mut windows = Windows::new(train.clone(), args.steps, None);
        while let Some((window, state)) = windows.next() {
            let steps = window.dims()[1];
            let (loss, state) = model.loss(window, state);
            windows.carry(state);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let gradients = clip_global_norm(&model, gradients, 1.0);
            model = optimizer.step(args.learning_rate, model, gradients);
            // The last window may be shorter than the others.
            sum += loss.into_scalar::<f64>() * steps as f64;
        }
        let learned = sum / train.dims()[1] as f64;
        let held_out = model.valid().mean_loss(rest.clone().inner(), args.steps);
        writeln!(
            out,
            "epoch {epoch:2}: {learned:.3} bits a character, {held_out:.3} on held-out text"
        )?;
    }

    writeln!(out, "\nIt writes:\n")?;
    let (model, device) = (model.valid(), device.clone().inner());
    let (mut character, mut state) = (text.numbers[0], None);
    let start = Instant::now();
    for _ in 0..args.write {
        let (scores, after) = model.step(character, state, &device);
        state = Some(after);
        let chances = softmax(scores / args.temperature, 1);
        character = chances.categorical(1).into_scalar::<i32>();
        write!(out, "{}", text.alphabet[character as usize])?;
        out.flush()?;
    }
    let rate = args.write as f64 / start.elapsed().as_secs_f64();
    writeln!(out, "\n\n{rate:.0} characters a second")
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let file = args.file.display();
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| format!("cannot read {file}: {error}"))?;
    let text = Text::new(&text);
    let learned = text.numbers.len() * 9 / 10;
    if learned <= args.rows || text.numbers.len() - learned < 2 {
        let (count, rows) = (text.numbers.len(), args.rows);
        return Err(format!(
            "{file} has {count} characters, too few for {rows} rows side by side: take a longer text, or fewer --rows"
        )
        .into());
    }
    let device = Device::flex().autodiff();
    device.seed(1);
    let (hidden, layers) = (args.hidden, args.layers);
    let done = match args.cell {
        Cell::Lstm => {
            let stack = LstmStackConfig::new(hidden, hidden, layers, true);
            let stack = stack.with_dropout(args.dropout).init(&device);
            run(stack, &text, &args, &device)
        }
        Cell::Gru => {
            let stack = GruStackConfig::new(hidden, hidden, layers, true);
            let stack = stack.with_dropout(args.dropout).init(&device);
            run(stack, &text, &args, &device)
        }
    };
    match done {
        // Nobody reads any more, as after `| head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
