//! `training eval`: the models of a finished run on held-out data, also at other gaps.

use super::folder::{RunDir, RunFolder};
use crate::data::HeldOut;
use crate::device;
use crate::learn::evaluate;
use crate::names::{CellName, DeviceName};
use crate::settings::Settings;
use crate::task::Metric;
use crate::text;
use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// What to evaluate.
#[derive(Args, Debug)]
pub struct EvalRequest {
    /// The run.
    #[command(flatten)]
    pub run: RunFolder,

    /// Gaps to measure at, separated by commas [default: the trained one]
    #[arg(long, value_delimiter = ',')]
    pub gap: Vec<usize>,

    /// Seed of the held-out data [default: the run's, so the data that was evaluated on in training]
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where to compute [default: as in the run]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceName>,
}

/// The results of an evaluation, as printed by `--json`.
#[derive(Serialize)]
pub struct Evaluation {
    task: &'static str,
    trained_gap: usize,
    device: String,
    runs: Vec<At>,
    #[serde(serialize_with = "text::path_as_text")]
    dir: PathBuf,
}

/// One cell at one gap.
#[derive(Serialize)]
struct At {
    cell: CellName,
    /// 0 for tasks without one.
    gap: usize,
    length: usize,
    metric: Metric,
    value: f64,
    chance: f64,
    solved: bool,
}

/// Evaluates every model of a run at every gap.
pub fn evaluate_run(request: &EvalRequest) -> Result<Evaluation> {
    let (dir, trained) = RunDir::open(request.run.path())?;
    let chosen = device::choose_for(request.device.as_ref().unwrap_or(&trained.device), &trained)?;
    let trained_task = trained.task.with_gap(trained.gap);
    let own_gap = [trained.gap];
    let gaps = match &request.gap[..] {
        [] => &own_gap,
        gaps => gaps,
    };
    let mut runs = vec![];
    for gap in gaps {
        let settings = Settings {
            gap: *gap,
            seed: request.seed.unwrap_or(trained.seed),
            ..trained.clone()
        };
        settings.check()?;
        let task = settings.task.with_gap(*gap);
        if task.d_input() != trained_task.d_input() {
            bail!(
                "{} has {} input features at gap {gap} and {} at gap {}, which the model was trained at: \
                 it can only be evaluated at that gap",
                settings.task.name(),
                task.d_input(),
                trained_task.d_input(),
                trained.gap,
            );
        }
        for cell in dir.cells() {
            let units = settings.hidden_of(cell) * settings.directions();
            let (seed, device) = (settings.seed, &chosen.device);
            let held_out = HeldOut::of_network(task.clone(), seed, units, device);
            let Some(model) = dir.read_model(cell, &settings, &chosen.device)? else {
                continue;
            };
            let score = evaluate(&model, &held_out)?;
            let metric = task.metric();
            runs.push(At {
                cell,
                gap: *gap,
                length: task.length(),
                metric,
                value: metric.of(score),
                chance: metric.of(task.chance()),
                solved: task.solved(score),
            });
        }
    }
    ensure!(
        !runs.is_empty(),
        "there is no trained model in {}: did the run end?",
        request.run.path().display()
    );
    Ok(Evaluation {
        task: trained.task.name(),
        trained_gap: trained.gap,
        device: chosen.name.to_string(),
        runs,
        dir: request.run.path().to_path_buf(),
    })
}

impl Evaluation {
    /// The results as a table.
    pub fn table(&self) -> String {
        let metric = self.runs.first().map_or("", |run| run.metric.name());
        let rows = self.runs.iter().map(|run| {
            vec![
                run.cell.title().to_string(),
                text::gap(run.gap),
                run.length.to_string(),
                run.metric.text(run.value),
                run.metric.text(run.chance),
                if run.solved { "solved" } else { "not solved" }.to_string(),
            ]
        });
        text::table(
            &["cell", "gap", "steps", metric, "chance", "result"],
            rows.collect(),
        )
    }
}
