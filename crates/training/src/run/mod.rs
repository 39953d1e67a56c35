//! `training compare` and `training train`: fit the cells one after the other, keep the results, say
//! what was shown; and go on with a run that was stopped.

pub mod curves;
pub mod evaluate;
pub mod folder;
mod summary;

pub use folder::{RunDir, RunFolder};

use crate::device::{self, Chosen};
use crate::learn::checkpoint::{self, Checkpoint, Finished};
use crate::learn::progress::Bars;
use crate::learn::{Model, NotFinite, Point, Prefix, Training, fit};
use crate::settings::{FURTHER, Settings};
use crate::task::Task;
use crate::text::{self, thousands};
use anyhow::{Context, Error, Result, anyhow, ensure};
use burn::module::Module;
use burn::train::Interrupter;
use burn::train::renderer::default_renderer;
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use summary::{CellSummary, RunSummary};

/// How a run shows itself.
#[derive(Args, Debug)]
pub struct Show {
    /// Should the loss or the gradient become infinite or NaN, name the first tensor that did (waits
    /// for the device in every update)
    #[arg(long, help_heading = FURTHER)]
    pub detect_anomaly: bool,

    /// Print the summary as JSON on standard output, and nothing else there
    #[arg(long, help_heading = FURTHER)]
    pub json: bool,

    /// Show burn-train's dashboard instead of progress bars, where standard output is a terminal
    #[arg(long, help_heading = FURTHER, conflicts_with = "json")]
    pub dashboard: bool,
}

/// What became of a run.
pub struct Outcome {
    /// Its folder.
    pub folder: PathBuf,
    /// Commands that show more of it.
    pub next: Vec<String>,
    /// Whether the user stopped it.
    pub interrupted: bool,
}

/// Trains all cells of `settings` in a new folder.
pub fn start(
    settings: &Settings,
    out: Option<&Path>,
    show: &Show,
    stop: &Interrupter,
) -> Result<Outcome> {
    let chosen = device::choose_all(settings)?;
    let dir = RunDir::create(out, settings)?;
    dir.write_json("config.json", settings)?;
    Run::new(settings, &dir, &chosen).go(None, show, stop)
}

/// Goes on with the run in a folder from its newest checkpoint.
pub fn resume(folder: &Path, show: &Show, stop: &Interrupter) -> Result<Outcome> {
    let (dir, settings) = RunDir::resume(folder)?;
    let chosen = device::choose_all(&settings)?;
    let from = checkpoint::newest(dir.path(), &settings, |warning| {
        text::say(&format!("warning: {warning}"));
    })?;
    ensure!(
        from.is_some() || !dir.is_beyond_its_first_checkpoint(),
        "there is no checkpoint in {}, though the run wrote some: they were deleted. {}",
        folder.join(checkpoint::FOLDER).display(),
        checkpoint::ANEW
    );
    match &from {
        None => text::say(&format!(
            "{} has no checkpoint yet: starting from the first update",
            folder.display()
        )),
        Some((Checkpoint { state, .. }, file)) => {
            let (cell, updates) = (state.cell.name(), thousands(state.data.updates));
            let file = file.display();
            text::say(&format!(
                "going on with the {cell} after {updates} updates, from {file}"
            ));
            let now = device::names(&chosen);
            if state.device != now {
                text::say(&format!(
                    "warning: so far the run computed on {}, and now on {}: it won't be the same bit for \
                     bit as without the break",
                    state.device, now
                ));
            }
        }
    }
    Run::new(&settings, &dir, &chosen).go(from, show, stop)
}

/// A run and what is known of it so far.
struct Run<'a> {
    settings: &'a Settings,
    dir: &'a RunDir,
    chosen: &'a [Chosen],
    task: Arc<dyn Task>,
    finished: Vec<Finished>,
    summary: RunSummary,
    /// The evaluations, in the order of the cells.
    points: Vec<Point>,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, dir: &'a RunDir, chosen: &'a [Chosen]) -> Self {
        Self {
            settings,
            dir,
            chosen,
            task: settings.task.with_gap(settings.gap),
            finished: vec![],
            summary: RunSummary {
                task: settings.task.name(),
                gap: settings.gap,
                device: device::names(chosen),
                optimizer: settings.optimizer.name(),
                runs: vec![],
                dir: dir.path().to_path_buf(),
                interrupted: false,
            },
            points: vec![],
        }
    }

    /// Trains the cells that are left, and shows the results.
    fn go(
        mut self,
        from: Option<(Checkpoint, PathBuf)>,
        show: &Show,
        stop: &Interrupter,
    ) -> Result<Outcome> {
        let settings = self.settings;
        for chosen in self.chosen {
            text::say(&chosen.why);
        }
        text::say(&format!(
            "task: {}, gap {}, sequences of {} steps, at most {} updates\nsolved: {}",
            settings.task.name(),
            text::gap(settings.gap),
            self.task.length(),
            thousands(settings.updates),
            self.task.criterion(),
        ));
        self.train(from, show, stop)
            .map_err(|error| with_advice(error, self.dir.path(), settings))?;

        let folder = self.dir.path().display();
        text::print_result(&self.summary, show.json, || {
            let summary = &self.summary;
            let sentences = summary.sentences(settings, &*self.task);
            format!("{}\n{sentences}\nresults: {folder}", summary.table())
        })?;
        if self.summary.interrupted {
            let folder = text::shell(self.dir.path());
            text::say(&format!("to go on with it: training --resume {folder}"));
        }
        Ok(Outcome {
            next: self.next(),
            folder: self.summary.dir,
            interrupted: self.summary.interrupted,
        })
    }

    /// Commands that show more of the run.
    fn next(&self) -> Vec<String> {
        let folder = text::shell(self.dir.path());
        let mut commands = vec![];
        if self.settings.layers == 1 && !self.settings.bidirectional {
            commands.push(format!("training inspect {folder}"));
        }
        let twice = Settings {
            gap: 2 * self.settings.gap,
            ..self.settings.clone()
        };
        let task = twice.task.with_gap(twice.gap);
        if twice.gap > 0 && task.d_input() == self.task.d_input() && twice.check().is_ok() {
            commands.push(format!("training eval {folder} --gap {}", twice.gap));
        }
        commands
    }

    fn train(
        &mut self,
        mut from: Option<(Checkpoint, PathBuf)>,
        show: &Show,
        stop: &Interrupter,
    ) -> Result<()> {
        let (settings, dir) = (self.settings, self.dir);
        let cells = settings.cell.list();
        let bars = (!show.dashboard || !std::io::stdout().is_terminal())
            .then(|| Bars::new(cells, settings.updates, self.chosen.len()));
        let mut keep = Prefix::default();
        if let Some((Checkpoint { state, .. }, _)) = &from {
            keep = state.metrics;
            for result in &state.finished {
                self.reopen(*result)?;
            }
        }
        for cell in &cells[self.finished.len()..] {
            let (file, points) = dir.metrics(keep)?;
            let (own, others) = points.into_iter().partition(|point| point.cell == *cell);
            self.points = others;
            let from = from.take();
            let done = from.as_ref().map_or(0, |(at, _)| at.state.data.updates);
            let fitted = fit(Training {
                cell: *cell,
                settings,
                devices: self.chosen,
                dir: dir.path(),
                finished: &self.finished,
                metrics: (file, own),
                from,
                detect_anomaly: show.detect_anomaly,
                renderer: match &bars {
                    Some(bars) => bars.renderer(*cell, done),
                    None => default_renderer(stop.clone(), None),
                },
                stop,
            })?;
            dir.write_model(*cell, &fitted.model)?;
            let summary = self.add(fitted.result, &fitted.model);
            if let Some(bars) = &bars {
                let word = match (summary.solved, fitted.interrupted) {
                    (true, _) => "solved",
                    (_, true) => "interrupted",
                    _ => "not solved",
                };
                let value = summary.metric.text(summary.value);
                bars.finish(
                    *cell,
                    &format!(
                        "{word} after {} updates, {} {value}",
                        summary.updates,
                        summary.metric.name()
                    ),
                );
            }
            keep = fitted.metrics;
            self.points.extend(fitted.points);
            self.summary.interrupted = fitted.interrupted;
            // After every cell, so that what a later one does cannot lose it.
            dir.write_json("summary.json", &self.summary)?;
            dir.write("curves.svg", self.curves()?.as_bytes())?;
            if fitted.interrupted {
                break;
            }
        }
        Ok(())
    }

    /// Takes up the result of a cell that an earlier process has trained.
    fn reopen(&mut self, result: Finished) -> Result<()> {
        let (cell, folder) = (result.cell, self.dir.path());
        let model = self
            .dir
            .read_model(cell, self.settings, &self.chosen[0].device)?;
        let model = model.with_context(|| {
            format!(
                "the trained {} is missing in {}: it was deleted. {}",
                cell.name(),
                folder.display(),
                checkpoint::ANEW
            )
        })?;
        self.add(result, &model);
        Ok(())
    }

    /// Adds the result of a cell to the summary.
    fn add(&mut self, result: Finished, model: &Model) -> CellSummary {
        let metric = self.task.metric();
        let summary = CellSummary {
            cell: result.cell,
            parameters: model.num_params(),
            updates: result.updates,
            metric,
            value: metric.of(result.score),
            chance: metric.of(self.task.chance()),
            solved: self.task.solved(result.score),
            seconds: result.seconds,
        };
        self.finished.push(result);
        self.summary.runs.push(summary);
        summary
    }

    fn curves(&self) -> Result<String> {
        let of = |cell| {
            let own = self.points.iter().filter(move |point| point.cell == cell);
            (cell, own.cloned().collect())
        };
        let cells = self.finished.iter().map(|result| of(result.cell));
        curves::loss_curves(self.settings, &*self.task, &cells.collect::<Vec<_>>())
    }
}

/// An error of a run that had begun, with what to do about it.
fn with_advice(error: Error, folder: &Path, settings: &Settings) -> Error {
    let (dir, checkpoint) = (
        text::shell(folder),
        checkpoint::newest_file(folder, settings),
    );
    let last = match &checkpoint {
        Some(file) => format!("The last good checkpoint is {}.", file.display()),
        None => "There is no checkpoint before it.".to_string(),
    };
    match error.downcast_ref::<NotFinite>() {
        Some(NotFinite { first: None, .. }) => anyhow!(
            "{error:#}. {last} Start a new run with a lower --lr, or with the gradient's norm bounded \
             (--clip 1); to learn the first tensor that is not finite: training --resume {dir} \
             --detect-anomaly"
        ),
        Some(_) => anyhow!(
            "{error:#}. {last} Start a new run with a lower --lr, or with the gradient's norm bounded \
             (--clip 1)"
        ),
        None => anyhow!(
            "{error:#}. {last} Once the cause is put right, go on with: training --resume {dir}"
        ),
    }
}
