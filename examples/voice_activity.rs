//! Who speaks when: the published Silero voice activity detector, its whole network in Burn, hears a WAV file as a
//! stream of windows of 32 ms, and prints where there is speech:
//! `cargo run --release --bin voice_activity -- FILE.wav`
//!
//! The weights are in the authors' own file, a TorchScript model (MIT), in `assets/silero_vad/`. A window takes one step of the LSTM, whose
//! state is all that the network remembers.

use burn::module::Module;
use burn::nn::PaddingConfig1d;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor, TensorData, s};
use clap::Parser;
use lstm_core::convert::{self, WeightError, Weights};
use lstm_core::{LstmCell, LstmCellConfig, LstmState};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// Prints where there is speech in a recording.
#[derive(Parser)]
struct Args {
    /// A WAV file: 16 kHz, one channel, 16 bits.
    file: PathBuf,
    /// The network's weights.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/silero_vad/silero_vad.jit"))]
    weights: PathBuf,
    /// Prints the probability of speech in each window too.
    #[arg(long)]
    probabilities: bool,
}

// -- The network ------------------------------------------------------------------------------------------

/// The fields have the names that the authors gave them in the smaller of their definitions.
#[derive(Module, Debug)]
struct Silero {
    stft_conv: Conv1d,
    conv1: Conv1d,
    conv2: Conv1d,
    conv3: Conv1d,
    conv4: Conv1d,
    lstm_cell: LstmCell,
    final_conv: Conv1d,
}

impl Silero {
    fn load(path: &PathBuf, device: &Device) -> Result<Self, WeightError> {
        let conv = |inputs, outputs, stride| {
            Conv1dConfig::new(inputs, outputs, 3)
                .with_stride(stride)
                .with_padding(PaddingConfig1d::Explicit(1, 1))
                .init(device)
        };
        let spectrum = Conv1dConfig::new(1, 258, 256).with_stride(128);
        let mut network = Self {
            stft_conv: spectrum.with_bias(false).init(device),
            conv1: conv(129, 128, 1),
            conv2: conv(128, 64, 2),
            conv3: conv(64, 64, 2),
            conv4: conv(64, 128, 1),
            lstm_cell: LstmCellConfig::new(128, 128).init(device),
            final_conv: Conv1dConfig::new(128, 1, 1).init(device),
        };
        convert::load_pytorch(&mut network, &Self::weights(path)?)?;
        Ok(network)
    }

    /// The weights under the names of the fields.
    fn weights(path: &PathBuf) -> Result<Weights, WeightError> {
        let weights = Weights::read(path)?;
        if weights.shape("stft_conv.weight").is_some() {
            return Ok(weights); // the authors' `silero_vad_16k.safetensors`, of an earlier version
        }
        // Beside `_model` there is `_model_8k`, for 8 kHz.
        let mut weights = weights.under("_model");
        weights.rename("stft.forward_basis_buffer", "stft_conv.weight")?;
        for name in ["weight", "bias"] {
            for k in 0..4 {
                let conv = format!("encoder.{k}.reparam_conv.{name}");
                weights.rename(&conv, format!("conv{}.{name}", k + 1))?;
            }
            let last = format!("decoder.decoder.2.{name}");
            weights.rename(&last, format!("final_conv.{name}"))?;
        }
        for name in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
            let rnn = format!("decoder.rnn.{name}");
            weights.rename(&rnn, format!("lstm_cell.{name}"))?;
        }
        Ok(weights)
    }

    /// The probability of speech, `[B, 1]`, in samples `[B, 576]`: the last 64 of the window before, and a window.
    fn forward(
        &self,
        samples: Tensor<2>,
        state: Option<LstmState<2>>,
    ) -> (Tensor<2>, LstmState<2>) {
        // A spectrum of 129 frequencies at four times: real parts first, then imaginary ones.
        let samples = samples.pad([(0, 64)], PadMode::Reflect).unsqueeze_dim(1);
        let parts = self.stft_conv.forward(samples);
        let [real, imaginary] = [0..129, 129..258].map(|k| parts.clone().slice(s![.., k, ..]));
        let x = (real.square() + imaginary.square()).sqrt();
        // Four times become two, then one: the features of the window, [B, 128, 1].
        let x = relu(self.conv1.forward(x));
        let x = relu(self.conv2.forward(x));
        let x = relu(self.conv3.forward(x));
        let x = relu(self.conv4.forward(x));
        let state = self.lstm_cell.forward(x.squeeze_dim(2), state);
        let x = relu(state.hidden.clone()).unsqueeze_dim(2);
        let probability = sigmoid(self.final_conv.forward(x)).squeeze_dim(2);
        (probability, state)
    }
}

// -- A stream ---------------------------------------------------------------------------------------------

const RATE: usize = 16_000;
const WINDOW: usize = 512;
/// Samples of the window before that the network sees too.
const CONTEXT: usize = 64;

/// What is carried from a window to the next.
struct Listener {
    network: Silero,
    state: Option<LstmState<2>>,
    context: Vec<f32>,
    device: Device,
}

impl Listener {
    fn new(network: Silero, device: &Device) -> Self {
        Self {
            network,
            state: None,
            context: vec![0.0; CONTEXT],
            device: device.clone(),
        }
    }

    fn hear(&mut self, window: &[f32]) -> f32 {
        let samples = [&self.context, window].concat();
        self.context = window[WINDOW - CONTEXT..].to_vec();
        let samples = TensorData::new(samples, [1, CONTEXT + WINDOW]);
        let samples = Tensor::from_data(samples, &self.device);
        let (probability, state) = self.network.forward(samples, self.state.take());
        self.state = Some(state);
        probability.into_scalar()
    }
}

/// The authors' rule: speech begins with a window of at least 0.5, and ends where 100 ms pass below 0.35 without
/// another. What is shorter than 250 ms doesn't count; what counts has 30 ms more on both sides. In samples.
#[derive(Default)]
struct Segments {
    read: usize,
    begun: Option<usize>,
    silent: Option<usize>,
}

impl Segments {
    const PAD: usize = 30 * RATE / 1000;

    /// Takes a window's probability, and returns the speech that has ended, if any has.
    fn next(&mut self, probability: f32) -> Option<[usize; 2]> {
        let now = self.read;
        self.read += WINDOW;
        if probability >= 0.5 {
            self.silent = None;
            self.begun.get_or_insert(now);
        } else if probability < 0.35 && self.begun.is_some() {
            let silent = *self.silent.get_or_insert(now);
            if now - silent >= RATE / 10 {
                return self.end(silent);
            }
        }
        None
    }

    /// The speech that ends here, unless it's too short.
    fn end(&mut self, end: usize) -> Option<[usize; 2]> {
        self.silent = None;
        let begun = self.begun.take()?;
        (end - begun > RATE / 4).then(|| [begun.saturating_sub(Self::PAD), end + Self::PAD])
    }
}

// -- A file -----------------------------------------------------------------------------------------------

/// Samples from a WAV file, a window at a time.
struct Wav {
    samples: io::Take<BufReader<File>>,
}

impl Wav {
    fn open(path: &PathBuf) -> Result<Self, Box<dyn Error>> {
        const ADVICE: &str = "expected a WAV file of 16 kHz, one channel, 16 bits: \
            ffmpeg -i FILE -ar 16000 -ac 1 -c:a pcm_s16le out.wav";
        let mut file = BufReader::new(File::open(path)?);
        match Self::find_samples(&mut file) {
            Ok(Some(size)) => Ok(Self {
                samples: file.take(size),
            }),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(ADVICE.into()),
        }
    }

    /// Reads as far as the samples, and returns their size in bytes; none where they are of another format.
    fn find_samples(file: &mut BufReader<File>) -> io::Result<Option<u64>> {
        let mut head = [0; 12];
        file.read_exact(&mut head)?;
        if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
            return Ok(None);
        }
        let mut fits = false;
        loop {
            let mut chunk = [0; 8];
            file.read_exact(&mut chunk)?;
            let size = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]) as u64;
            if &chunk[..4] == b"data" {
                return Ok(fits.then_some(size));
            }
            let mut content = vec![];
            file.by_ref()
                .take(size + size % 2)
                .read_to_end(&mut content)?;
            // Format 1 (whole numbers), channels, samples a second, …, bits.
            let number = |k| {
                content
                    .get(k..k + 2)
                    .map(|two| u16::from_le_bytes([two[0], two[1]]))
            };
            if &chunk[..4] == b"fmt " {
                let format = [0, 2, 4, 6, 14].map(number);
                fits = format == [1, 1, RATE as u16, 0, 16].map(Some);
            }
        }
    }

    /// The next window, filled up with silence at the end, and how many samples of it there are; none after the end.
    fn window(&mut self) -> io::Result<Option<(Vec<f32>, usize)>> {
        let mut bytes = vec![];
        self.samples
            .by_ref()
            .take(2 * WINDOW as u64)
            .read_to_end(&mut bytes)?;
        let sample = |two: &[u8]| i16::from_le_bytes([two[0], two[1]]) as f32 / 32_768.0;
        let mut window: Vec<f32> = bytes.chunks_exact(2).map(sample).collect();
        let read = window.len();
        window.resize(WINDOW, 0.0);
        Ok((read > 0).then_some((window, read)))
    }
}

/// Prints where there is speech.
fn hear(mut wav: Wav, mut listener: Listener, probabilities: bool) -> io::Result<()> {
    let (mut segments, mut samples, mut windows) = (Segments::default(), 0, 0);
    let seconds = |samples: usize| samples as f64 / RATE as f64;
    let speech = |segment: [usize; 2]| {
        let [from, to] = segment.map(seconds);
        format!("speech from {from:.3} s to {to:.3} s")
    };

    let (mut out, start) = (stdout().lock(), Instant::now());
    while let Some((window, read)) = wav.window()? {
        let probability = listener.hear(&window);
        if probabilities {
            writeln!(out, "{:.3} s: {probability:.6}", seconds(samples))?;
        }
        if let Some(segment) = segments.next(probability) {
            writeln!(out, "{}", speech(segment))?;
        }
        samples += read;
        windows += 1;
    }
    if windows == 0 {
        return Err(io::Error::other("there are no samples"));
    }
    // Speech that goes on to the end of the file.
    if let Some([from, _]) = segments.end(samples) {
        writeln!(out, "{}", speech([from, samples]))?;
    }
    let (took, heard) = (start.elapsed().as_secs_f64(), seconds(samples));
    let each = 1e3 * took / f64::from(windows);
    writeln!(
        out,
        "{heard:.1} s heard in {took:.2} s, {each:.2} ms a window"
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let file = args.file.display();
    let wav = Wav::open(&args.file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let device = Device::flex();
    let listener = Listener::new(Silero::load(&args.weights, &device)?, &device);
    match hear(wav, listener, args.probabilities) {
        // Nobody reads any more, as after `| head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done.map_err(|error| format!("{file}: {error}"))?),
    }
}
