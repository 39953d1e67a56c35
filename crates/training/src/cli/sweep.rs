//! The plan of a sweep from the command line.

use super::args::SweepArgs;
use crate::names::CellName;
use crate::settings::Overrides;
use crate::sweep::plan::{Arm, Plan, options, tuning_seeds};
use crate::task::TaskName;
use anyhow::{Result, ensure};
use itertools::iproduct;

/// The plan asked for on the command line, checked.
pub fn from_args(args: &SweepArgs) -> Result<Plan> {
    let mut plan = match (&args.plan, &args.preset) {
        (Some(path), _) => Plan::read(path)?,
        (_, Some(name)) => Plan::preset(name)?,
        _ => from_flags(args),
    };
    for (given, into) in [
        (&args.seed, &mut plan.seeds),
        (&args.tuning_seed, &mut plan.tuning_seeds),
    ] {
        if !given.is_empty() {
            into.clone_from(given);
        }
    }
    if !args.gap.is_empty() {
        plan.gaps.clone_from(&args.gap);
    }
    let task = args.task.or(plan.settings.task);
    if plan.gaps.is_empty() && task.is_some_and(|task| task.longest_gap().is_none()) {
        plan.gaps = vec![0];
    }
    if !args.lr.is_empty() {
        plan.learning_rates.clone_from(&args.lr);
        for arm in &mut plan.arms {
            arm.learning_rates = None;
        }
    }
    for arm in &plan.arms {
        let own = &arm.settings;
        for (flag, given, own) in [
            ("task", args.task.is_some(), own.task.is_some()),
            ("hidden", args.hidden.is_some(), own.hidden.is_some()),
            ("updates", args.updates.is_some(), own.updates.is_some()),
            (
                "eval-every",
                args.eval_every.is_some(),
                own.eval_every.is_some(),
            ),
            ("batch", args.batch.is_some(), own.batch.is_some()),
            ("device", args.device.is_some(), own.device.is_some()),
        ] {
            ensure!(
                !given || !own,
                "--{flag} is for all arms, and {:?} has its own: change it in the plan",
                arm.name
            );
        }
    }
    let mut cells = plan
        .arms
        .iter()
        .filter_map(|arm| arm.settings.cell.as_ref());
    ensure!(
        args.forget_bias.is_empty() || cells.any(|cells| cells.first().has_forget_bias()),
        "--forget-bias is for cells with a forget gate of their own, and there is none among --cell: leave it out"
    );
    plan.settings = Overrides {
        task: args.task,
        hidden: args.hidden,
        updates: args.updates,
        eval_every: args.eval_every,
        batch: args.batch,
        device: args.device.clone(),
        ..Overrides::default()
    }
    .or(plan.settings);
    plan.check()?;
    Ok(plan)
}

/// Every combination of the lists on the command line.
fn from_flags(args: &SweepArgs) -> Plan {
    let cells = match &args.cell {
        Some(cells) => cells.list(),
        None => &[CellName::Rnn, CellName::Lstm],
    };
    let mut arms = vec![];
    for (cell, optimizer, init, clip) in iproduct!(
        cells.iter().copied(),
        options(&args.optimizer),
        options(&args.init),
        options(&args.clip)
    ) {
        let settings = Overrides {
            cell: Some(cell.into()),
            optimizer,
            init,
            clip,
            ..Overrides::default()
        };
        arms.extend(flag_arms(args, cell, settings));
    }
    let task = args
        .task
        .or_else(|| TaskName::named("first-symbol"))
        .unwrap_or_default();
    Plan {
        version: None,
        name: task.name().to_string(),
        about: String::new(),
        gaps: match task.longest_gap() {
            Some(_) => vec![10, 20, 40, 80],
            None => vec![],
        },
        seeds: vec![1, 2, 3],
        tuning_seeds: tuning_seeds(),
        learning_rates: vec![],
        settings: Overrides {
            task: Some(task),
            ..Overrides::default()
        },
        arms,
    }
}

/// The arms of one cell from the flags.
fn flag_arms(args: &SweepArgs, cell: CellName, settings: Overrides) -> Vec<Arm> {
    let mut words = vec![];
    if args.init.len() > 1 {
        words.extend(settings.init.map(|init| init.name().to_string()));
    }
    if args.optimizer.len() > 1 {
        words.extend(settings.optimizer.map(|one| one.title().to_string()));
    }
    if args.clip.len() > 1 {
        words.extend(settings.clip.map(|clip| match clip {
            0.0 => "no clipping".to_string(),
            clip => format!("clip {clip}"),
        }));
    }
    let arm = |settings, first: String| Arm {
        name: [&[first], &words[..]].concat().join(", "),
        settings,
        learning_rates: None,
    };
    let biases = match cell.has_forget_bias() {
        true => options(&args.forget_bias),
        false => vec![None],
    };
    let mut arms = vec![];
    for bias in biases {
        let first = match bias {
            Some(bias) => format!("{}, {bias}", cell.title()),
            None => cell.title().to_string(),
        };
        let settings = Overrides {
            forget_bias: bias,
            ..settings.clone()
        };
        arms.push(arm(settings.clone(), first.clone()));
        if args.match_parameters && cell != CellName::Lstm {
            let settings = Overrides {
                match_parameters: Some(true),
                ..settings
            };
            arms.push(arm(settings, format!("{first}, LSTM's size")));
        }
    }
    arms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::learn::Model;
    use crate::sweep::plan::PRESETS;
    use burn::module::Module;
    use burn::tensor::Device;
    use clap::Parser;
    use itertools::Itertools;
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    fn plan(line: &str) -> Result<Plan> {
        plan_of(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn plan_of(arguments: &[&str]) -> Result<Plan> {
        let arguments = [&["training", "sweep"], arguments].concat();
        let Some(Command::Sweep(args)) = Cli::parse_from(arguments).command else {
            panic!("not a sweep");
        };
        from_args(&args)
    }

    #[test]
    fn presets_are_sound_and_survive_a_file() {
        for (name, _) in PRESETS {
            let plan = plan(&format!("--preset {name}")).unwrap();
            assert_eq!(plan.name, name);
            let json = serde_json::to_string(&plan).unwrap();
            let read: Plan = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        let plan = plan("--preset ten-to-twenty --gap 5,6 --updates 7").unwrap();
        assert_eq!((plan.arms.len(), &plan.gaps[..]), (7, &[5, 6][..]));
        let jobs = plan.tuning_jobs().unwrap();
        assert!(jobs.iter().all(|job| job.settings.updates == 7));
    }

    #[test]
    fn every_combination_is_run_once() {
        let plan = plan(
            "--init gaussian,orthogonal --clip 0,1 --forget-bias 0,1,chrono --gap 3,4 --seed 1,2,3 \
             --tuning-seed 7,8 --lr 0.1,0.2",
        )
        .unwrap();
        // 2 inits × 2 clips × (1 RNN + 3 LSTM)
        assert_eq!(plan.arms.len(), 16);
        let mut ids = HashSet::new();
        for job in plan.tuning_jobs().unwrap() {
            assert!(job.settings.seed >= 7);
            assert!(ids.insert(job.id));
        }
        for arm in &plan.arms {
            for gap in &plan.gaps {
                for job in plan.reported_jobs(arm, *gap, Some(0.1)).unwrap() {
                    assert_eq!((job.settings.gap, job.settings.lr), (*gap, 0.1));
                    assert!(ids.insert(job.id));
                }
            }
        }
        assert_eq!(ids.len(), 16 * 2 * (2 * 2 + 3));
        assert_eq!(ids.len(), plan.most_runs());
        let names: Vec<_> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names[0], "RNN, gaussian, no clipping");
        assert_eq!(names[6], "LSTM, chrono, gaussian, no clipping");
    }

    #[test]
    fn cells_with_a_forget_gate_have_an_arm_for_each_bias() {
        let plan = plan("--cell rnn,lstm,peephole-lstm --forget-bias -1,1").unwrap();
        let jobs = plan.meaning().unwrap();
        assert!(jobs.iter().map(|job| &job.id).all_unique());
        assert_eq!(jobs.len(), plan.most_runs());
        let names: Vec<_> = plan.arms.iter().map(|arm| &arm.name[..]).collect();
        assert_eq!(
            names,
            [
                "RNN",
                "LSTM, forget bias -1",
                "LSTM, forget bias 1",
                "peephole LSTM, forget bias -1",
                "peephole LSTM, forget bias 1"
            ]
        );
    }

    #[test]
    fn the_command_line_does_not_lose_to_an_arm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        let arm = "{ name = 'x', settings = { cell = 'rnn', updates = 100000 } }";
        let text = format!("name = 'a'\ngaps = [3]\nseeds = [1]\narms = [{arm}]");
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let error = plan_of(&["--plan", path, "--updates", "5"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--updates is for all arms, and \"x\" has its own: change it in the plan"
        );
        let job = plan_of(&["--plan", path, "--hidden", "5"]).unwrap();
        assert_eq!(job.meaning().unwrap()[0].settings.hidden, 5);
    }

    #[test]
    fn one_learning_rate_needs_no_choice() {
        let plan = plan("--lr 0.1").unwrap();
        assert!(plan.tuning_jobs().unwrap().is_empty());
        assert_eq!(plan.most_runs(), 2 * 4 * 3);
    }

    #[test]
    fn a_matched_rnn_is_as_large_as_the_lstm() {
        let plan = plan("--match-parameters --hidden 50").unwrap();
        let sizes: Vec<usize> = plan
            .arms
            .iter()
            .map(|arm| {
                let job = plan.reported_jobs(arm, 10, None).unwrap().remove(0);
                Model::new(job.cell(), &job.settings, &Device::flex()).num_params()
            })
            .collect();
        let [rnn, matched, lstm] = sizes[..] else {
            panic!("{sizes:?}");
        };
        assert!(3 * rnn < lstm, "{sizes:?}");
        assert!(matched.abs_diff(lstm) < lstm / 50, "{sizes:?}");
    }

    #[test]
    fn the_plans_that_are_shipped_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sweeps");
        let mut found = 0;
        for folder in [folder.clone(), folder.join("published")] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|kind| kind == "toml") {
                    let text = path.to_str().unwrap();
                    plan_of(&["--plan", text]).unwrap_or_else(|error| panic!("{text}: {error:#}"));
                    found += 1;
                }
            }
        }
        assert!(found > PRESETS.len());
    }

    #[test]
    fn tasks_without_a_gap_need_none() {
        let plan = plan("--task digits-rows --cell lstm").unwrap();
        assert_eq!((&plan.gaps[..], plan.most_runs()), (&[0][..], 3));
        let job = &plan.reported_jobs(&plan.arms[0], 0, None).unwrap()[0];
        assert_eq!(job.settings.gap, 0);
        assert!(!plan.words().contains("gaps"));
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        for (line, error) in [
            ("--gap 3,3", "a gap is named twice"),
            ("--seed 1,1", "a seed is named twice"),
            ("--lr 0.1,0.1", "a learning rate is named twice"),
            (
                "--lr 0.1,0.2 --tuning-seed 3",
                "seed 3 is reported and chosen on",
            ),
            ("--gap 0", "at gap 0"),
            ("--task digits-rows --gap 5", "at gap 5"),
            ("--plan /nowhere.toml", "cannot read the plan /nowhere.toml"),
            (
                "--cell rnn,gru --forget-bias 1",
                "there is none among --cell",
            ),
        ] {
            let message = format!("{:#}", plan(line).unwrap_err());
            assert!(message.contains(error), "{message}");
        }
        let file = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("plan.toml");
            fs::write(&path, text).unwrap();
            let error = plan_of(&["--plan", path.to_str().unwrap()]).unwrap_err();
            format!("{error:#}")
        };
        let start = "name = 'a'\ngaps = [3]\nseeds = [1]\n";
        for (text, error) in [
            ("arms = []", "the plan has no arms"),
            (
                "arms = [{ name = 'x', settings = {} }]",
                "must name one cell",
            ),
            (
                "arms = [{ name = 'x', settings = { cell = 'both' } }]",
                "must name one cell",
            ),
            (
                "arms = [{ name = 'x', settings = { cel = 'rnn' } }]",
                "unknown field `cel`",
            ),
            ("gasp = 3", "unknown field `gasp`"),
            (
                "arms = [{ name = 'x', settings = { cell = 'rnn', task = 'adding' } }, \
                 { name = 'y', settings = { cell = 'rnn', task = 'parity' } }]",
                "the arms \"x\" and \"y\" are of different tasks, adding and parity",
            ),
            (
                "arms = [{ name = 'x', settings = { cell = 'rnn', gap = 9 } }]",
                "the plan's gaps say what `gap` among the settings of \"x\" says otherwise",
            ),
            (
                "settings = { seed = 9 }\narms = [{ name = 'x', settings = { cell = 'rnn' } }]",
                "the plan's seeds say what `seed`",
            ),
            (
                "settings = { lr = 0.3 }\nlearning-rates = [0.1]\narms = [{ name = 'x', settings = { cell = 'rnn' } }]",
                "the plan's learning-rates say what `lr`",
            ),
            (
                "settings = { schedule = 'cosine' }\nlearning-rates = [0.3, 3]\n\
                 arms = [{ name = 'x', settings = { cell = 'rnn' } }]",
                "--schedule cosine begins with at most 1, got --lr 3",
            ),
        ] {
            let message = file(&format!("{start}{text}"));
            assert!(message.contains(error), "{message}");
        }
    }
}
