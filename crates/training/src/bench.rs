//! `training bench`: the layers of `lstm-core` and of `burn::nn`, timed in turn in one process,
//! or one of them alone.

pub mod busy;

use crate::config::CellName;
use crate::device::{self, DeviceName};
use crate::report;
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// Runs before the clock counts: caches fill, kernels are compiled and tuned.
const WARM_UP: usize = 3;

/// Whose layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Implementation {
    /// This workspace's library
    LstmCore,
    /// Burn's own layers
    BurnNn,
}

impl Implementation {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::LstmCore, Self::BurnNn];

    /// As in the tables and in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::LstmCore => "lstm-core",
            Self::BurnNn => "burn::nn",
        }
    }
}

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
            Ok([batch, time, input, hidden]) if !text.split(',').any(|size| size == "0") => {
                Ok(Self {
                    batch: *batch,
                    time: *time,
                    input: *input,
                    hidden: *hidden,
                })
            }
            _ => Err(format!(
                "expected four sizes B,T,I,H of at least 1, got {text}"
            )),
        }
    }
}

/// What is to be timed.
pub struct Request<'a> {
    /// The sizes.
    pub shapes: &'a [Shape],
    /// The implementations, timed in turn.
    pub implementations: &'a [Implementation],
    /// The cell.
    pub cell: CellName,
    /// Where.
    pub device: DeviceName,
    /// Runs that the clock counts.
    pub runs: usize,
}

/// The times of one implementation at one shape, as printed by `--json`.
#[derive(Serialize)]
pub struct Timing {
    r#impl: &'static str,
    cell: CellName,
    device: String,
    /// The adapter, of wgpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<Adapter>,
    /// `[B, T, I, H]`
    shape: [usize; 4],
    /// Median milliseconds of forward without gradients.
    infer_ms: f64,
    infer_ms_min: f64,
    infer_ms_max: f64,
    /// Median milliseconds of forward and backward of mean(output²).
    train_ms: f64,
    train_ms_min: f64,
    train_ms_max: f64,
}

/// An adapter of wgpu, for the record.
#[derive(Clone, Serialize)]
struct Adapter {
    name: String,
    driver: Option<String>,
}

/// A layer: the output of a sequence.
type Layer = Box<dyn Fn(Tensor<3>) -> Tensor<3>>;

/// An implementation, its layers and their times.
struct Timed {
    implementation: Implementation,
    /// For inference and for training.
    layers: (Layer, Layer),
    infer: Vec<f64>,
    train: Vec<f64>,
}

/// Times every shape and hands over the timings of its implementations as they come.
pub fn run(request: &Request, mut each: impl FnMut(Vec<Timing>) -> Result<()>) -> Result<()> {
    ensure!(request.runs >= 1, "--runs must be at least 1, got 0");
    let chosen = device::choose(&request.device)?;
    report::say(&chosen.why);
    let adapter = chosen.adapter.as_ref().map(|name| Adapter {
        name: name.clone(),
        driver: device::driver(name),
    });
    for shape in request.shapes {
        each(time_shape(request, *shape, &chosen, &adapter)?)?;
    }
    Ok(())
}

fn time_shape(
    request: &Request,
    shape: Shape,
    chosen: &device::Chosen,
    adapter: &Option<Adapter>,
) -> Result<Vec<Timing>> {
    let Shape {
        batch,
        time,
        input,
        hidden,
    } = shape;
    let device = &chosen.device;
    let x = Tensor::random([batch, time, input], Distribution::Default, device);
    let training = device.clone().autodiff();
    let x_training = Tensor::from_data(x.to_data(), &training);
    let mut all: Vec<Timed> = (request.implementations.iter())
        .map(|&implementation| Timed {
            implementation,
            layers: layers(implementation, request.cell, [input, hidden], &training),
            infer: vec![],
            train: vec![],
        })
        .collect();
    // In turn, so that a machine that drifts does so for both.
    for run in 0..WARM_UP + request.runs {
        for timed in &mut all {
            let (infer_layer, train_layer) = &timed.layers;
            let ms = clock(device, || {
                infer_layer(x.clone());
            })?;
            let train_ms = clock(device, || {
                let output = train_layer(x_training.clone());
                output.square().mean().backward();
            })?;
            if run >= WARM_UP {
                timed.infer.push(ms);
                timed.train.push(train_ms);
            }
        }
    }
    let timing = |mut timed: Timed| {
        let [infer_ms_min, infer_ms, infer_ms_max] = spread(&mut timed.infer);
        let [train_ms_min, train_ms, train_ms_max] = spread(&mut timed.train);
        Timing {
            r#impl: timed.implementation.name(),
            cell: request.cell,
            device: chosen.name.to_string(),
            adapter: adapter.clone(),
            shape: [batch, time, input, hidden],
            infer_ms,
            infer_ms_min,
            infer_ms_max,
            train_ms,
            train_ms_min,
            train_ms_max,
        }
    };
    Ok(all.into_iter().map(timing).collect())
}

/// An implementation's layer for inference and for training.
fn layers(
    implementation: Implementation,
    cell: CellName,
    [i, h]: [usize; 2],
    device: &Device,
) -> (Layer, Layer) {
    match (implementation, cell) {
        (Implementation::LstmCore, CellName::Lstm) => {
            let layer = lstm_core::LstmConfig::new(i, h, true).init(device);
            both_modes(layer, |layer, x| layer.forward(x, None).0)
        }
        (Implementation::LstmCore, CellName::Rnn) => {
            let layer = lstm_core::RnnConfig::new(i, h, true).init(device);
            both_modes(layer, |layer, x| layer.forward(x, None).0)
        }
        (Implementation::BurnNn, CellName::Lstm) => {
            let layer = burn::nn::LstmConfig::new(i, h, true).init(device);
            both_modes(layer, |layer, x| layer.forward(x, None).0)
        }
        (Implementation::BurnNn, CellName::Rnn) => {
            let layer = burn::nn::RnnConfig::new(i, h, true).init(device);
            both_modes(layer, |layer, x| layer.forward(x, None).0)
        }
    }
}

fn both_modes<M: Module + 'static>(
    layer: M,
    forward: fn(&M, Tensor<3>) -> Tensor<3>,
) -> (Layer, Layer) {
    let infer = layer.valid();
    (
        Box::new(move |x| forward(&infer, x)),
        Box::new(move |x| forward(&layer, x)),
    )
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
        true => &["B,T,I,H", "impl", "infer ms", "", "train ms", ""],
        false => &["B,T,I,H", "impl", "infer ms", "train ms"],
    };
    let rows = timings.iter().flat_map(|shape| {
        shape.iter().map(move |timing| {
            let [b, t, i, h] = timing.shape;
            let mut row = vec![format!("{b},{t},{i},{h}"), timing.r#impl.to_string()];
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
    report::table(header, rows.collect())
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
