//! `training bench`: the layers of `lstm-core` and of `burn::nn`, timed in turn in one process,
//! or one of them alone: whole sequences here, single steps in [`steps`].

pub mod busy;
pub mod callers;
mod layers;
pub mod steps;

pub use layers::{Form, Implementation};

use crate::device::{self, Chosen};
use crate::names::{CellName, DeviceName, Dtype};
use crate::text;
use anyhow::{Context, Result, ensure};
use burn::tensor::{DType, Device, Distribution, Tensor};
use clap::{Args, ValueEnum};
use layers::Layer;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// Runs before the clock counts: caches fill, kernels are compiled and tuned.
const WARM_UP: usize = 3;

/// Numbers in the largest tensor of a layer call, 64 GiB of them.
const MOST: f64 = (1u64 << 34) as f64;

/// Sizes of a layer call.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    batch: usize,
    time: usize,
    input: usize,
    hidden: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            batch,
            time,
            input,
            hidden,
        } = self;
        write!(f, "{batch},{time},{input},{hidden}")
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[batch, time, input, hidden]) if batch.min(time).min(input).min(hidden) >= 1 => {
                // Of the weights of four gates, and of what they make of every step.
                let columns = 4.0 * hidden as f64;
                let rows = (input as f64 + hidden as f64).max(batch as f64 * time as f64);
                match rows * columns <= MOST {
                    true => Ok(Self {
                        batch,
                        time,
                        input,
                        hidden,
                    }),
                    false => Err(format!(
                        "{text} needs more memory than can be expected: choose smaller sizes"
                    )),
                }
            }
            _ => Err(format!(
                "expected four sizes B,T,I,H of at least 1, got {text}"
            )),
        }
    }
}

/// The shapes that are timed by default.
pub fn shapes() -> Vec<Shape> {
    let shapes = [
        "32,50,2,64",
        "64,100,2,128",
        "32,100,128,256",
        "64,100,256,512",
    ];
    shapes
        .map(|shape| shape.parse().expect("four sizes"))
        .to_vec()
}

/// What to time.
#[derive(Args, Clone, Debug)]
pub struct BenchRequest {
    /// Sizes to time: batch, time steps, input features, hidden units [default: four from 32,50,2,64 to
    /// 64,100,256,512; with --step 1,1,H,H for H from 64 to 1024]
    #[arg(long, value_name = "B,T,I,H", num_args = 1..)]
    pub shapes: Vec<Shape>,

    /// Time one implementation alone [default: both, in turn, where both have the cell]
    #[arg(long = "impl", value_enum)]
    pub implementation: Option<Implementation>,

    /// The cell
    #[arg(long, value_enum, default_value = "lstm")]
    pub cell: CellName,

    /// What is made of the cell; burn::nn's is timed as one layer alone
    #[arg(long, value_enum, default_value = "layer", conflicts_with = "step")]
    pub form: Form,

    /// The type of weights, inputs and outputs
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,

    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceName,

    /// Runs that count, after three that warm up, of 100 calls each with --step; medians are printed
    #[arg(long, default_value_t = 15)]
    pub runs: usize,
}

/// What was timed, for the record.
#[derive(Serialize)]
struct Subject {
    r#impl: &'static str,
    cell: CellName,
    form: Form,
    dtype: Dtype,
    device: String,
    /// The adapter, of wgpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterName>,
    /// `[B, T, I, H]`
    shape: [usize; 4],
    /// Whether the layer runs on `lstm-core`'s kernels there; `null` of what isn't its layer.
    runs_on_kernels: Option<bool>,
}

impl Subject {
    /// The first columns of a table.
    fn cells(&self) -> [String; 2] {
        let [b, t, i, h] = self.shape;
        [format!("{b},{t},{i},{h}"), self.r#impl.to_string()]
    }

    /// The column of a table that says which way the layer goes.
    fn kernels(&self) -> String {
        let words = self
            .runs_on_kernels
            .map(|yes| if yes { "yes" } else { "no" });
        words.unwrap_or_default().to_string()
    }
}

/// An adapter of wgpu, for the record.
#[derive(Clone, Serialize)]
struct AdapterName {
    name: String,
    driver: Option<String>,
}

/// The times of one implementation at one shape, as printed by `--json`.
#[derive(Serialize)]
pub struct Timing {
    #[serde(flatten)]
    subject: Subject,
    /// Median milliseconds of forward without gradients.
    infer_ms: f64,
    infer_ms_min: f64,
    infer_ms_max: f64,
    /// Median milliseconds of forward and backward of mean(output²), which is taken in float32 at least.
    train_ms: f64,
    train_ms_min: f64,
    train_ms_max: f64,
}

/// The place where a request is served, and which implementations are timed there.
pub struct Bench<'a> {
    request: &'a BenchRequest,
    implementations: Vec<Implementation>,
    chosen: Chosen,
    adapter: Option<AdapterName>,
}

impl<'a> Bench<'a> {
    /// # Errors
    ///
    /// If the device, the type or the layers asked for aren't there.
    fn new(request: &'a BenchRequest) -> Result<Self> {
        ensure!(request.runs >= 1, "--runs must be at least 1, got 0");
        let has = |one: &Implementation| layers::is_in(request.cell, request.form, *one);
        let all = Implementation::value_variants();
        let implementations: Vec<_> = match request.implementation {
            Some(one) => [one].into_iter().filter(has).collect(),
            None => all.iter().copied().filter(has).collect(),
        };
        let without = || match request.form {
            Form::Layer => format!("burn::nn has no layer of the cell {}", request.cell.name()),
            _ => "burn::nn's is timed as --form layer alone".to_string(),
        };
        ensure!(!implementations.is_empty(), "--impl burn-nn: {}", without());
        let mut chosen = device::choose(&request.device)?;
        request.dtype.configure(&mut chosen)?;
        text::say(&chosen.why);
        if env!("OPT_LEVEL") != "3" {
            // (The kernels are always optimised; Burn's operations, and so burn::nn's layers, are not here.)
            text::say(
                "built for a quick start: times, burn::nn's above all, are longer than in a release build \
                 (cargo run --release -p training -- bench)",
            );
        }
        if request.implementation.is_none() && implementations.len() < all.len() {
            text::say(&format!("{}: lstm-core's alone is timed", without()));
        }
        let adapter = chosen.adapter.as_ref().map(|name| AdapterName {
            name: name.clone(),
            driver: device::driver(name),
        });
        Ok(Self {
            request,
            implementations,
            chosen,
            adapter,
        })
    }

    /// The layers of all implementations, by name, on the device for training.
    fn layers(&self, shape: Shape) -> Vec<(Implementation, Layer)> {
        let device = self.chosen.device.clone().autodiff();
        let sizes = [shape.input, shape.hidden];
        let BenchRequest { cell, form, .. } = *self.request;
        let layer = |implementation| layers::layer(implementation, cell, form, sizes, &device);
        let each = self.implementations.iter();
        each.map(|one| (*one, layer(*one))).collect()
    }

    /// An input for inference, and the same for training.
    fn inputs(&self, shape: Shape) -> [Tensor<3>; 2] {
        let device = &self.chosen.device;
        let sizes = [shape.batch, shape.time, shape.input];
        let x = Tensor::random(sizes, Distribution::Default, device);
        let x_training = Tensor::from_data(x.to_data(), &device.clone().autodiff());
        [x, x_training]
    }

    fn subject(
        &self,
        implementation: Implementation,
        shape: Shape,
        runs_on_kernels: Option<bool>,
    ) -> Subject {
        // The layer has kernels for the cell, but few steps with a projection go by the loop.
        let by_loop = self.request.cell == CellName::Lstmp
            && shape.batch * shape.time < CellName::Lstmp.d_output(shape.hidden);
        let runs_on_kernels = runs_on_kernels.map(|yes| yes && !by_loop);
        Subject {
            r#impl: implementation.title(),
            cell: self.request.cell,
            form: self.request.form,
            dtype: self.request.dtype,
            device: self.chosen.name.to_string(),
            adapter: self.adapter.clone(),
            shape: [shape.batch, shape.time, shape.input, shape.hidden],
            runs_on_kernels,
        }
    }
}

/// Times every shape and hands over the timings of its implementations as they come.
///
/// `time` is what is timed: [`sequences`], [`steps::time`] or [`callers::time`].
pub fn run<T>(
    request: &BenchRequest,
    time: impl Fn(&Bench, Shape) -> Result<Vec<T>>,
    mut each: impl FnMut(Vec<T>) -> Result<()>,
) -> Result<()> {
    let bench = Bench::new(request)?;
    for shape in &request.shapes {
        each(time(&bench, *shape)?)?;
    }
    Ok(())
}

/// mean(output²), of half precision in float32, as usual in training. (Flex computes float16 element by element: its
/// mean(output²) takes 40% as long as forward and backward of the LSTM, at B,T,I,H = 32,100,128,256.)
fn loss(output: Tensor<3>) -> Tensor<1> {
    let output = match output.dtype() {
        DType::F16 | DType::BF16 => output.cast(DType::F32),
        _ => output,
    };
    output.square().mean()
}

/// Times whole sequences, forward alone and forward and backward.
pub fn sequences(bench: &Bench, shape: Shape) -> Result<Vec<Timing>> {
    let device = &bench.chosen.device;
    let [x, x_training] = bench.inputs(shape);
    let layers = bench.layers(shape);
    let mut times = vec![(vec![], vec![]); layers.len()];
    // In turn, so that a machine that drifts does so for both.
    for run in 0..WARM_UP + bench.request.runs {
        for ((_, layer), (infer, train)) in layers.iter().zip(&mut times) {
            let ms = clock(device, || {
                (layer.infer)(x.clone());
            })?;
            let train_ms = clock(device, || {
                let output = (layer.train)(x_training.clone());
                loss(output).backward();
            })?;
            if run >= WARM_UP {
                infer.push(ms);
                train.push(train_ms);
            }
        }
    }
    let timing =
        |((implementation, layer), (mut infer, mut train)): ((_, Layer), (Vec<_>, Vec<_>))| {
            let [infer_ms_min, infer_ms, infer_ms_max] = spread(&mut infer);
            let [train_ms_min, train_ms, train_ms_max] = spread(&mut train);
            Timing {
                subject: bench.subject(implementation, shape, layer.runs_on_kernels),
                infer_ms,
                infer_ms_min,
                infer_ms_max,
                train_ms,
                train_ms_min,
                train_ms_max,
            }
        };
    Ok(layers.into_iter().zip(times).map(timing).collect())
}

/// Milliseconds until the device has done the work.
fn clock(device: &Device, work: impl FnOnce()) -> Result<f64> {
    let start = Instant::now();
    work();
    device.sync().context("the device failed")?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Least, median and greatest.
fn spread(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 2], times[times.len() - 1]]
}

/// The timings as a table; where there are two, with how many times as long `burn::nn` takes.
pub fn table(timings: &[Vec<Timing>]) -> String {
    let compared = timings.iter().all(|shape| shape.len() > 1);
    let header: &[&str] = match compared {
        true => &["B,T,I,H", "impl", "kernels", "infer ms", "", "train ms", ""],
        false => &["B,T,I,H", "impl", "kernels", "infer ms", "train ms"],
    };
    let rows = timings.iter().flat_map(|shape| {
        shape.iter().map(move |timing| {
            let mut row = timing.subject.cells().to_vec();
            row.push(timing.subject.kernels());
            for (ms, own) in [
                (timing.infer_ms, shape[0].infer_ms),
                (timing.train_ms, shape[0].train_ms),
            ] {
                row.push(format!("{ms:.2}"));
                if compared {
                    row.push(format!("× {:.1}", ms / own));
                }
            }
            row
        })
    });
    text::table(header, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_four_sizes() {
        let shape: Shape = "32,50,2,64".parse().unwrap();
        assert_eq!((shape.batch, shape.hidden), (32, 64));
        for bad in ["", "1,2,3", "1,2,3,4,5", "1,2,0,4", "a,b,c,d", "1,2,3,-4"] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spread_is_sorted() {
        assert_eq!(spread(&mut [3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
    }
}
