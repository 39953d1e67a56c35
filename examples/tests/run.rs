//! Every example runs and says what its page says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(program: &str) -> String {
    run_with(program, &[])
}

fn run_with(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file that a test writes.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The number that stands between two pieces of text, on the last line that has both.
fn number(printed: &str, before: &str, after: &str) -> f64 {
    let between = |line: &str| {
        let (_, rest) = line.split_once(before)?;
        rest.split_once(after)?.0.trim().parse().ok()
    };
    let number = printed.lines().rev().find_map(between);
    number.unwrap_or_else(|| panic!("no number between {before:?} and {after:?} in\n{printed}"))
}

#[test]
fn one_step() {
    let printed = run(env!("CARGO_BIN_EXE_one_step"));
    assert!(printed.contains("LstmCell {d_input: 2, d_hidden: 3, bias: true, params: 72}"));
    assert_eq!(printed.lines().count(), 3);
}

#[test]
fn assemble_lstm() {
    let printed = run(env!("CARGO_BIN_EXE_assemble_lstm"));
    assert!(printed.contains("LstmCell gives the same"), "{printed}");
    assert!(
        printed.contains("memory c' = c      2.000  -1.000   0.500   0.000"),
        "{printed}"
    );
}

#[test]
fn burn_project() {
    let printed = run(env!("CARGO_BIN_EXE_burn_project"));
    let right = number(&printed, "", " of 320 words right");
    assert!(right >= 300.0, "{printed}");
}

#[test]
fn custom_cell() {
    let printed = run(env!("CARGO_BIN_EXE_custom_cell"));
    let right = number(&printed, "", " of 360 digits right");
    assert!(right >= 300.0, "{printed}");
}

/// Beside last year's values, and last year's values with growth.
#[test]
fn time_series() {
    let plot = scratch("forecast.svg");
    let args = ["--epochs", "60", "--plot", plot.to_str().unwrap()];
    let printed = run_with(env!("CARGO_BIN_EXE_time_series"), &args);
    let [naive, growth, lstm] = ["last year's values", "and last year's growth", "LSTM"]
        .map(|name| number(&printed, name, "ppm"));
    assert!(lstm < 0.4 * naive && lstm < growth, "{printed}");
    assert!(printed.contains("the best model: model-"), "{printed}");
    let plot = std::fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("LSTM"));
}

/// Learns a licence, with either cell.
#[test]
fn char_rnn() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../LICENSE-APACHE");
    for cell in ["lstm", "gru"] {
        let sizes = "--hidden 64 --layers 1 --rows 8 --steps 32 --epochs 12 --write 100";
        let args = [text, "--cell", cell];
        let args: Vec<&str> = args.into_iter().chain(sizes.split(' ')).collect();
        let printed = run_with(env!("CARGO_BIN_EXE_char_rnn"), &args);
        let entropy = number(&printed, "by their frequencies alone, ", " bits");
        let learned = number(&printed, "epoch 12: ", " bits");
        let held_out = number(&printed, "bits a character, ", " on held-out text");
        assert!(
            learned < 0.7 * entropy && held_out < 0.7 * entropy,
            "{printed}"
        );
        let (_, written) = printed.split_once("It writes:\n\n").unwrap();
        let (written, _) = written.rsplit_once("\n\n").unwrap();
        assert_eq!(written.chars().count(), 100);
    }
}

/// In a terminal, the result is printed once burn-train's dashboard has left the screen.
#[test]
fn in_a_terminal() {
    let in_terminal = |command: &str| {
        let mut script = Command::new("script");
        let script = script.args(["-qec", command, "/dev/null"]);
        script.stdin(Stdio::null()).output()
    };
    // Without util-linux, or where there are no pseudo-terminals.
    if !in_terminal("true").is_ok_and(|output| output.status.success()) {
        println!("skipped in_a_terminal: there is no script -qec");
        return;
    }
    let plot = scratch("terminal.svg");
    let (burn_project, time_series) = (
        env!("CARGO_BIN_EXE_burn_project"),
        env!("CARGO_BIN_EXE_time_series"),
    );
    for (command, result) in [
        (format!("'{burn_project}'"), " of 320 words right"),
        (
            format!("'{time_series}' --epochs 1 --plot '{}'", plot.display()),
            "the best model: model-1",
        ),
    ] {
        let output = in_terminal(&format!("stty rows 40 cols 120; {command}")).unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        let (_, after) = printed.rsplit_once("\x1b[?1049l").expect("a dashboard");
        assert!(after.contains(result), "{printed}");
    }
}

/// Whoever reads what is printed may stop reading, as `head` does.
#[test]
fn readers_that_have_read_enough() {
    let wav = scratch("enough.wav");
    std::fs::write(&wav, wav_file(&voice())).unwrap();
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../LICENSE-APACHE");
    let small = "--hidden 8 --layers 1 --epochs 1 --write 10";
    for (program, file, args) in [
        (env!("CARGO_BIN_EXE_char_rnn"), text, small),
        (
            env!("CARGO_BIN_EXE_voice_activity"),
            wav.to_str().unwrap(),
            "--probabilities",
        ),
    ] {
        let mut command = Command::new(program);
        let command = command.arg(file).args(args.split(' '));
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
}

/// The program ends with an error that says why, without a panic.
fn assert_refused(output: Output, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(why), "{why}: {stderr}");
}

/// What can't be learned from is an error that names the file.
#[test]
fn files_that_are_too_short_or_missing() {
    let short = scratch("short.txt");
    for (text, program) in [
        ("", env!("CARGO_BIN_EXE_char_rnn")),
        (
            "thirty characters are too few.",
            env!("CARGO_BIN_EXE_char_rnn"),
        ),
        (
            "month,ppm\n2000-01,369\n",
            env!("CARGO_BIN_EXE_time_series"),
        ),
    ] {
        std::fs::write(&short, text).unwrap();
        for file in [short.as_path(), Path::new("nowhere.txt")] {
            let output = Command::new(program).arg(file).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let named = stderr.contains(&file.display().to_string());
            assert!(output.status.code() == Some(1) && named, "{stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }

    let forecast = |months: &[String]| {
        let file = scratch("months.csv");
        std::fs::write(&file, format!("month,ppm\n{}\n", months.join("\n"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_time_series"));
        let command = command.arg(file).args(["--epochs", "1", "--hidden", "4"]);
        let plot = command.arg("--plot").arg(scratch("months.svg"));
        plot.output().unwrap()
    };
    let month = |k: usize| format!("{}-{:02},{}", 2000 + k / 12, 1 + k % 12, 370 + k % 7);
    let months: Vec<String> = (0..120).map(month).collect();
    for wrong in [
        "2004-01,NaN",
        "2004-01,inf",
        "2004-01,-99.99",
        "2003-12,370",
        "2004-02,370",
        "2004-13,370",
        "January,370",
    ] {
        let mut months = months.clone();
        months[48] = wrong.to_string();
        assert_refused(forecast(&months), "months.csv, line 50: ");
    }
    let newest_first: Vec<String> = months.iter().rev().cloned().collect();
    assert_refused(forecast(&newest_first), "months.csv, line 3: ");
    assert_refused(forecast(&months[..81]), "81 months, and 82 are the least");
    assert!(forecast(&months[..82]).status.success());
}

/// What isn't a WAV file of the right format, or has no samples, is an error that says so.
#[test]
fn recordings_that_are_broken() {
    let file = scratch("broken.wav");
    let whole = wav_file(&[0; 1_000]);
    let samples_first = [&whole[..12], &whole[36..], &whole[12..36]].concat();
    let advice = "broken.wav: expected a WAV file of 16 kHz";
    for (bytes, why) in [
        (vec![], advice),
        (whole[..10].to_vec(), advice),
        (whole[..36].to_vec(), advice),
        (samples_first, advice),
        (wav_file(&[]), "broken.wav: there are no samples"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_voice_activity"));
        assert_refused(command.arg(&file).output().unwrap(), why);
    }
}

/// Numbers with which nothing works are errors of the command line.
#[test]
fn numbers_out_of_range() {
    let (char_rnn, tagger, episodes) = (
        env!("CARGO_BIN_EXE_char_rnn"),
        env!("CARGO_BIN_EXE_tagger"),
        env!("CARGO_BIN_EXE_episodes"),
    );
    for (program, args) in [
        (char_rnn, "LICENSE --rows 0"),
        (char_rnn, "LICENSE --temperature 0"),
        (char_rnn, "LICENSE --temperature inf"),
        (char_rnn, "LICENSE --learning-rate 0"),
        (char_rnn, "LICENSE --learning-rate NaN"),
        (tagger, "--hidden 0"),
        (tagger, "--longest 2"),
        (episodes, "--games 0"),
        (episodes, "--steps 0"),
        (episodes, "--hidden 0"),
    ] {
        let output = Command::new(program).args(args.split(' ')).output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{args}");
    }
}

#[test]
fn tagger() {
    for padding in ["left", "right"] {
        let args = "--updates 400 --hidden 32 --longest 10 --padding";
        let args: Vec<&str> = args.split(' ').chain([padding]).collect();
        let printed = run_with(env!("CARGO_BIN_EXE_tagger"), &args);
        let baseline = (0..4).map(|tag| number(&printed, &format!("always tag {tag}: "), " %"));
        let baseline = baseline.fold(0.0, f64::max);
        let [left, right] =
            ["left", "right"].map(|side| number(&printed, &format!("on the {side}: "), " %"));
        assert!(left > baseline + 40.0 && left == right, "{printed}");
    }
}

/// That acting and learning have the same numbers, the program asserts.
#[test]
fn episodes() {
    let args = "--rounds 150 --corridor 4 --games 32 --steps 20";
    let args: Vec<&str> = args.split(' ').collect();
    let printed = run_with(env!("CARGO_BIN_EXE_episodes"), &args);
    let share = number(&printed, "episodes ended, ", " % with the right turn");
    assert!(share > 90.0, "{printed}");
    assert!(printed.contains("differ by at most"), "{printed}");
}

#[test]
fn voice_activity() {
    let wav = scratch("voice.wav");
    std::fs::write(&wav, wav_file(&voice())).unwrap();
    let args = [wav.to_str().unwrap(), "--probabilities"];
    let printed = run_with(env!("CARGO_BIN_EXE_voice_activity"), &args);

    let original = include_str!("voice_activity.txt");
    let probabilities = original.lines().filter_map(|line| line.parse::<f64>().ok());
    let mut here = printed.lines().filter_map(|line| line.split_once(" s: "));
    let mut windows = 0;
    for (probability, (_, same)) in probabilities.zip(here.by_ref()) {
        let same: f64 = same.parse().unwrap();
        assert!(
            (probability - same).abs() < 5e-6,
            "window {windows}: {same}, {probability}"
        );
        windows += 1;
    }
    assert!(windows == 125 && here.next().is_none(), "{printed}");

    let speech = |text: &str| -> Vec<String> {
        let speech = text.lines().filter(|line| line.starts_with("speech"));
        speech.map(String::from).collect()
    };
    assert_eq!(speech(&printed), speech(original));
    assert_eq!(speech(&printed).len(), 2);
}

/// The voice of `voice_activity.py`.
fn voice() -> Vec<i16> {
    const RATE: i64 = 16_000;
    const VOWELS: [[i64; 3]; 4] = [
        [30592, 28206, 16608],
        [31565, 19678, 12164],
        [31565, 29948, 20260],
        [31174, 24169, 17659],
    ];
    let (mut seed, mut phase, mut before) = (1u32, 0, [[0i64; 2]; 3]);
    let sample = |n: i64| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = i64::from(seed >> 16) - 32_768;
        let speaks = (8_000..27_200).contains(&n) || (38_400..52_800).contains(&n);
        let vowel = n % 3_200;
        let loud = if speaks {
            vowel.min(3_200 - vowel) * 2
        } else {
            0
        };
        phase += 120 + n / 1_600 % 4 * 8;
        let pulse = if phase >= RATE {
            (30_000 * loud) >> 12
        } else {
            0
        };
        phase %= RATE;
        let mut x = pulse + ((noise * loud) >> 18);
        for (last, resonance) in before.iter_mut().zip(VOWELS[(n / 3_200 % 4) as usize]) {
            x = (x * 4_096 + resonance * last[0] - 15_416 * last[1]) >> 14;
            *last = [x, last[0]];
        }
        (x + (noise >> 9)).clamp(-32_768, 32_767) as i16
    };
    (0..4 * RATE).map(sample).collect()
}

/// A WAV file of 16 kHz, one channel, 16 bits.
fn wav_file(samples: &[i16]) -> Vec<u8> {
    let size = 2 * samples.len() as u32;
    let mut file = [b"RIFF".as_slice(), &(36 + size).to_le_bytes(), b"WAVEfmt "].concat();
    file.extend([16, 0, 0, 0, 1, 0, 1, 0]);
    file.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
    file.extend([2, 0, 16, 0]);
    file.extend([b"data".as_slice(), &size.to_le_bytes()].concat());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// `from_pytorch.py` has the same number of digits right, and loads what is written.
#[test]
fn from_pytorch() {
    let output = scratch("digits.safetensors");
    let args = ["--output", output.to_str().unwrap()];
    let printed = run_with(env!("CARGO_BIN_EXE_from_pytorch"), &args);
    assert!(
        printed.contains("as it came: 276 of 360 digits right"),
        "{printed}"
    );
    let trained = number(&printed, "after 20 epochs: ", " digits right");
    assert!(trained > 320.0, "{printed}");
    let file = std::fs::read(output).unwrap();
    let header = String::from_utf8_lossy(&file[..file.len().min(4_000)]);
    for name in [
        "rnn.bias_hh_l1_reverse",
        "norm.running_var",
        "norm.num_batches_tracked",
        "head.weight",
    ] {
        assert!(
            header.contains(&format!("\"{name}\"")),
            "no {name} in {header}"
        );
    }
}
