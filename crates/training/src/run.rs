//! `training compare` and `training train`: fit the cells one after the other, keep the results, say
//! what was shown.

use crate::config::Settings;
use crate::device;
use crate::plot;
use crate::progress::Bars;
use crate::report::{self, CellSummary, Summary, thousands};
use crate::rundir::RunDir;
use crate::train::{Fitted, fit};
use anyhow::Result;
use burn::module::Module;
use burn::train::Interrupter;
use std::io::IsTerminal;
use std::path::Path;

/// How a run shows itself.
pub struct Show {
    /// Print the summary as JSON, and nothing else, on standard output.
    pub json: bool,
    /// Use burn-train's dashboard where there is a terminal.
    pub dashboard: bool,
}

/// Trains all cells of `settings`; returns whether the run went to its end without interruption.
pub fn run(
    settings: &Settings,
    out: Option<&Path>,
    show: &Show,
    interrupter: &Interrupter,
) -> Result<bool> {
    let chosen = device::choose(settings.device)?;
    let task = settings.task.with_gap(settings.gap);
    let dir = RunDir::create(out, settings)?;
    dir.write_json("config.json", settings)?;
    eprintln!("{}", chosen.why);
    eprintln!(
        "task: {}, gap {} (sequences of {} steps); solved: {}; at most {} updates",
        settings.task.name(),
        report::gap(settings.gap),
        task.length(),
        task.criterion(),
        thousands(settings.updates),
    );

    let cells = settings.cell.list();
    let dashboard = show.dashboard && std::io::stdout().is_terminal();
    let bars = (!dashboard).then(|| Bars::new(cells, settings.updates, task.goal()));
    let mut summary = Summary {
        task: settings.task.name(),
        gap: settings.gap,
        device: chosen.name,
        optimizer: settings.optimizer.name(),
        runs: vec![],
        dir: dir.path().to_path_buf(),
        interrupted: false,
    };
    let mut curves = vec![];
    for cell in cells {
        let fitted = fit(
            *cell,
            settings,
            &chosen.device,
            dir.path(),
            dir.metrics()?,
            bars.as_ref().map(|bars| bars.renderer(*cell)),
            interrupter,
        )?;
        dir.write_model(*cell, &fitted.model)?;
        let (metric, value) = report::metric(&*task, fitted.score);
        let (_, chance) = report::metric(&*task, task.chance());
        let Fitted {
            updates, seconds, ..
        } = fitted;
        let result = CellSummary {
            cell: *cell,
            parameters: fitted.model.num_params(),
            updates,
            metric,
            value,
            chance,
            solved: task.solved(fitted.score),
            seconds,
        };
        if let Some(bars) = &bars {
            let word = match (result.solved, fitted.interrupted) {
                (true, _) => "solved",
                (_, true) => "interrupted",
                _ => "not solved",
            };
            let value = report::readable(metric, value);
            bars.finish(
                *cell,
                &format!("{word} after {updates} updates, {metric} {value}"),
            );
        }
        summary.runs.push(result);
        summary.interrupted = fitted.interrupted;
        curves.push((*cell, fitted.points));
        // After every cell, so that what a later one does cannot lose it.
        dir.write_json("summary.json", &summary)?;
        let svg = plot::loss_curves(settings, &*task, &curves)?;
        dir.write("curves.svg", svg.as_bytes())?;
        if fitted.interrupted {
            break;
        }
    }

    report::print(&match show.json {
        true => serde_json::to_string(&summary)?,
        false => format!(
            "{}\n{}\nresults: {}",
            summary.table(),
            summary.sentence(settings, &*task),
            dir.path().display()
        ),
    })?;
    Ok(!summary.interrupted)
}
