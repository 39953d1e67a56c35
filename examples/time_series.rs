//! A forecast: carbon dioxide at Mauna Loa, twelve months ahead, by an LSTM that burn-train trains:
//! `cargo run --release --bin time_series`
//!
//! From a CSV file through Burn's dataset and windows to a stack of LSTMs with dropout; a schedule for the learning
//! rate, early stopping, and the best checkpoint, which is measured beside last year's values on years that it hasn't
//! seen.

use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::transform::WindowsDataset;
use burn::data::dataset::{Dataset, InMemDataset};
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData, s};
use burn::train::checkpoint::MetricCheckpointingStrategy;
use burn::train::metric::LossMetric;
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::{
    InferenceStep, Learner, MetricEarlyStoppingStrategy, RegressionOutput, StoppingCondition,
    SupervisedTraining, TrainOutput, TrainStep,
};
use clap::Parser;
use lstm_core::{LstmStack, LstmStackConfig, clip_global_norm};
use plotters::prelude::*;
use serde::Deserialize;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Forecasts twelve months of carbon dioxide.
#[derive(Parser)]
struct Args {
    /// Months and values, with a header `month,ppm`; oldest first, without gaps.
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/co2/co2.csv"))]
    file: PathBuf,
    #[arg(long, default_value_t = 32, value_parser = size)]
    hidden: usize,
    /// Epochs, at most.
    #[arg(long, default_value_t = 100, value_parser = size)]
    epochs: usize,
    /// Epochs without a better validation loss before training stops.
    #[arg(long, default_value_t = 20)]
    patience: usize,
    /// Where the forecasts are drawn.
    #[arg(long, default_value = "forecast.svg")]
    plot: PathBuf,
}

/// A number from 1 on.
fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| *size >= 1);
    size.ok_or_else(|| "expected a whole number of at least 1".to_string())
}

// -- The series -------------------------------------------------------------------------------------------

/// Months that the network reads.
const PAST: usize = 36;
/// Months that it forecasts.
const FUTURE: usize = 12;

/// A line of the file.
#[derive(Clone, Debug, Deserialize)]
struct Month {
    month: String,
    ppm: f32,
}

impl Month {
    /// Counted from the year 0; none if it isn't written `YYYY-MM`.
    fn number(&self) -> Option<u32> {
        let (year, month) = self.month.split_once('-')?;
        let written = year.len() == 4 && month.len() == 2;
        let (year, month) = (year.parse::<u32>().ok()?, month.parse::<u32>().ok()?);
        (written && (1..=12).contains(&month)).then_some(12 * year + month)
    }
}

/// Windows take it for granted that each month follows the one before. What is missing may be written as a number,
/// -99.99 for one, which nothing should be learned from.
fn check(series: &[Month]) -> Result<(), String> {
    let mut due = None;
    for (line, entry) in (2..).zip(series) {
        let Month { month, ppm } = entry;
        let measured = ppm.is_finite() && *ppm > 0.0;
        if !measured {
            return Err(format!("line {line}: {month} can't have {ppm} ppm"));
        }
        let Some(number) = entry.number() else {
            return Err(format!("line {line}: {month} isn't written as 1958-03 is"));
        };
        if due.is_some_and(|due| due != number) {
            return Err(format!("line {line}: {month} isn't the month that is due"));
        }
        due = Some(number + 1);
    }
    Ok(())
}

/// Windows of the series: a month to count from, the past, and the future.
type Windows = WindowsDataset<InMemDataset<Month>, Month>;

fn windows(months: &[Month]) -> Windows {
    WindowsDataset::new(InMemDataset::new(months.to_vec()), 1 + PAST + FUTURE)
}

/// Windows as tensors: changes from month to month, `[B, PAST, 1]`, and how far the value will be from the last one,
/// `[B, FUTURE]`. So it doesn't matter that values rise beyond all those that were learned from.
#[derive(Clone, Debug)]
struct Batch {
    changes: Tensor<3>,
    ahead: Tensor<2>,
}

#[derive(Clone)]
struct WindowBatcher;

impl Batcher<Vec<Month>, Batch> for WindowBatcher {
    fn batch(&self, windows: Vec<Vec<Month>>, device: &Device) -> Batch {
        let rows = windows.len();
        let values = windows.iter().flatten().map(|month| month.ppm).collect();
        let values = TensorData::new(values, [rows, 1 + PAST + FUTURE]);
        let values = Tensor::<2>::from_data(values, device);
        let past = values.clone().slice(s![.., 1..=PAST]);
        let changes = past.clone() - values.clone().slice(s![.., ..PAST]);
        let ahead = values.slice(s![.., 1 + PAST..]) - past.slice(s![.., -1..]);
        Batch {
            changes: changes.unsqueeze_dim(2),
            ahead,
        }
    }
}

// -- The model --------------------------------------------------------------------------------------------

#[derive(Module, Debug)]
struct Forecaster {
    layers: LstmStack,
    head: Linear,
}

impl Forecaster {
    fn new(hidden: usize, device: &Device) -> Self {
        let layers = LstmStackConfig::new(1, hidden, 2, true).with_dropout(0.2);
        Self {
            layers: layers.init(device),
            head: LinearConfig::new(hidden, FUTURE).init(device),
        }
    }

    /// From changes, `[B, PAST, 1]`, to how far the value will be from the last one, `[B, FUTURE]`.
    fn forward(&self, changes: Tensor<3>) -> Tensor<2> {
        let (output, _) = self.layers.forward(changes, None);
        self.head
            .forward(output.slice(s![.., -1, ..]).squeeze_dim(1))
    }

    fn error(&self, batch: Batch) -> RegressionOutput {
        let output = self.forward(batch.changes);
        let loss = MseLoss::new().forward(output.clone(), batch.ahead.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, batch.ahead)
    }
}

impl TrainStep for Forecaster {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let item = self.error(batch);
        let mut output = TrainOutput::new(self, item.loss.backward(), item);
        output.grads = clip_global_norm(self, output.grads, 1.0);
        output
    }
}

impl InferenceStep for Forecaster {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.error(batch)
    }
}

fn train(
    train: &[Month],
    valid: &[Month],
    args: &Args,
    folder: &Path,
    device: &Device,
) -> Result<Forecaster, Box<dyn Error>> {
    let loader = |size| {
        DataLoaderBuilder::new(WindowBatcher)
            .batch_size(size)
            .set_device(device.clone())
    };
    let (train, valid) = (windows(train), windows(valid));
    let updates = args.epochs * train.len().div_ceil(32);
    let train = loader(32).shuffle(1).build(train);
    // One batch, so that the validation loss is the mean over all windows.
    let valid = loader(valid.len()).build(valid);
    let schedule = CosineAnnealingLrSchedulerConfig::new(0.003, updates).init()?;
    let (mean, lowest) = (Aggregate::Mean, Direction::Lowest);
    let best = MetricCheckpointingStrategy::new(&LossMetric::new(), mean, lowest, Split::Valid);
    let patience = StoppingCondition::NoImprovementSince {
        n_epochs: args.patience,
    };
    let stop =
        MetricEarlyStoppingStrategy::new(&LossMetric::new(), mean, lowest, Split::Valid, patience);

    let model = Forecaster::new(args.hidden, &device.clone().autodiff());
    let result = SupervisedTraining::new(folder, train, valid)
        .metrics((LossMetric::new(),))
        .with_default_checkpointers()
        .with_checkpointing_strategy(best)
        .early_stopping(stop)
        .num_epochs(args.epochs)
        .launch(Learner::new(model, AdamConfig::new().init(), schedule));
    // In a terminal, burn-train's dashboard has the screen for as long as it lives: what is printed before is lost.
    drop(result.renderer);
    if let Some(error) = result.error {
        return Err(error.into());
    }

    // The last epoch's model is seldom the best one. Of the checkpoints, only the best is kept, model-EPOCH.bpk, and one
    // that is better takes its place: the newest is the best.
    let folder = folder.join("checkpoint");
    let epoch = |file: String| -> Option<usize> {
        let epoch = file.strip_prefix("model-")?.strip_suffix(".bpk")?;
        epoch.parse().ok()
    };
    let files = std::fs::read_dir(&folder)?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let best = names.filter_map(epoch).max();
    let best = best.ok_or("training ended before there was a checkpoint")?;
    let file = folder.join(format!("model-{best}.bpk"));
    let model = result.model.try_load_file(file)?;
    println!("\nthe best model: model-{best}");
    Ok(model)
}

// -- What it is worth -------------------------------------------------------------------------------------

/// A year, the value before it, and what is said of it.
struct Forecast {
    future: Vec<Month>,
    network: Vec<f32>,
    last_year: Vec<f32>,
    /// The same, with as much growth as there was last year.
    and_growth: Vec<f32>,
}

fn forecast(model: &Forecaster, window: Vec<Month>, device: &Device) -> Forecast {
    let batch = WindowBatcher.batch(vec![window.clone()], device);
    let ahead = model.forward(batch.changes).into_data();
    let values: Vec<f32> = window.iter().map(|month| month.ppm).collect();
    let now = values[PAST];
    let last_year = values[1 + PAST - FUTURE..=PAST].to_vec();
    let growth = now - values[PAST - FUTURE];
    Forecast {
        network: ahead.iter::<f32>().map(|ahead| now + ahead).collect(),
        and_growth: last_year.iter().map(|value| value + growth).collect(),
        last_year,
        future: window[1 + PAST..].to_vec(),
    }
}

/// The mean distance between forecasts and what came, in ppm.
fn mean_error(forecasts: &[Forecast], said: impl Fn(&Forecast) -> &Vec<f32>) -> f32 {
    let errors = forecasts.iter().flat_map(|forecast| {
        let both = forecast.future.iter().zip(said(forecast));
        both.map(|(month, said)| (month.ppm - said).abs())
    });
    errors.sum::<f32>() / (forecasts.len() * FUTURE) as f32
}

/// Draws every twelfth forecast, so that each month has one.
fn draw(forecasts: &[Forecast], path: &Path) -> Result<(), Box<dyn Error>> {
    let years: Vec<&Forecast> = forecasts.iter().step_by(FUTURE).collect();
    let months = years.len() * FUTURE;
    let line = |said: fn(&Forecast) -> Vec<f32>| {
        let values = years.iter().flat_map(|year| said(year));
        (0..).zip(values).collect::<Vec<(i32, f32)>>()
    };
    let came = line(|year| year.future.iter().map(|month| month.ppm).collect());
    let lines = [
        ("what came", came.clone(), BLACK),
        (
            "last year's values",
            line(|year| year.last_year.clone()),
            RGBColor(165, 165, 165),
        ),
        (
            "LSTM",
            line(|year| year.network.clone()),
            RGBColor(0, 114, 178),
        ),
    ];
    let values = || {
        lines
            .iter()
            .flat_map(|(_, line, _)| line)
            .map(|(_, value)| *value)
    };
    let (low, high) = (
        values().fold(f32::MAX, f32::min),
        values().fold(f32::MIN, f32::max),
    );

    let root = SVGBackend::new(path, (860, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "CO₂ at Mauna Loa, each year forecast at its beginning",
            ("sans-serif", 18),
        )
        .margin(14)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0..months as i32, low - 1.0..high + 1.0)?;
    let name = |k: &i32| {
        let year = years.get(*k as usize / FUTURE);
        year.map_or(String::new(), |year| {
            year.future[*k as usize % FUTURE].month.clone()
        })
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_label_formatter(&name)
        .y_desc("ppm")
        .draw()?;
    for (name, line, colour) in lines {
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    println!("drawn in {}", path.display());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = Device::flex();
    device.seed(1);
    let file = args.file.display();
    let series = InMemDataset::from_csv(&args.file, &csv::ReaderBuilder::new())
        .map_err(|error| format!("cannot read {file}: {error}"))?;
    let series = series.iter().collect::<Result<Vec<Month>, _>>()?;
    check(&series).map_err(|error| format!("{file}, {error}"))?;

    // In time's order: 60 % to learn from, 20 % to stop by, 20 % to measure with. What is forecast is in one part
    // alone; the past that is read before it may be in the part before. Each part forecasts once at least.
    let [learn, stop] = [6, 8].map(|tenths| series.len() * tenths / 10);
    let least = (10 * (1 + PAST + FUTURE)).div_ceil(6).max(5 * FUTURE);
    if series.len() < least {
        let months = series.len();
        return Err(
            format!("{file} has {months} months, and {least} are the least to learn from").into(),
        );
    }
    let valid = &series[learn - PAST - 1..stop];
    let test = &series[stop - PAST - 1..];
    // For as long as the model: a loaded one reads its weights from the file when they are first used.
    let folder = tempfile::tempdir()?;
    let model = train(&series[..learn], valid, &args, folder.path(), &device)?;

    let windows = windows(test);
    let forecasts = windows
        .iter()
        .map(|window| Ok(forecast(&model, window?, &device)));
    let forecasts = forecasts.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    println!(
        "{} forecasts of {FUTURE} months, from {} on; their mean error:",
        forecasts.len(),
        series[stop].month
    );
    let print = |name: &str, said: fn(&Forecast) -> &Vec<f32>| {
        println!("  {name:32} {:.3} ppm", mean_error(&forecasts, said));
    };
    print("last year's values", |forecast| &forecast.last_year);
    print("the same and last year's growth", |forecast| {
        &forecast.and_growth
    });
    print("LSTM", |forecast| &forecast.network);
    draw(&forecasts, &args.plot)
}
