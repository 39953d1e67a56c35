//! The report as a browser sees it: headless Chromium, where there is one; listed as ignored elsewhere, and
//! a failure there with `TRAINING_REQUIRE_BROWSER` set, as in CI.

use libtest_mimic::{Arguments, Failed, Trial};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let browser = browser();
    if browser.is_none() {
        eprintln!("no chromium, chromium-browser or google-chrome on PATH");
    }
    let required = std::env::var_os("TRAINING_REQUIRE_BROWSER").is_some();
    let missing = browser.is_none() && !required;
    let test = Trial::test("the_report_opens_without_console_messages", move || {
        browser.map_or(Err("no browser".into()), |browser| opens(&browser))
    });
    let trials = vec![test.with_ignored_flag(missing)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut places =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    places.find(|place| place.is_file())
}

/// The page after its scripts have run, and what it wrote to the console.
fn open(browser: &Path, page: &Path) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let console = String::from_utf8_lossy(&output.stderr);
    let console = console.lines().filter(|line| line.contains("CONSOLE"));
    let console = console.map(str::to_string).collect();
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        console,
    )
}

fn training(arguments: &[&OsStr]) {
    let output = Command::new(env!("CARGO_BIN_EXE_training"))
        .args(arguments)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

fn opens(browser: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    // That mistakes would be seen.
    let broken = folder.path().join("broken.html");
    fs::write(
        &broken,
        "<!doctype html><script>nothing.at.all();</script><p>here</p>",
    )?;
    let (dom, console) = open(browser, &broken);
    assert!(dom.contains("here"), "the browser shows nothing: {dom}");
    assert_eq!(console.len(), 1, "{console:?}");

    let run = folder.path().join("run");
    let words =
        "compare --device flex --task adding --gap 5 --hidden 8 --updates 40 --eval-every 20 --out";
    let mut arguments: Vec<&OsStr> = words.split(' ').map(OsStr::new).collect();
    arguments.push(run.as_ref());
    training(&arguments);
    let sweep = folder.path().join("sweep");
    let words =
        "sweep --gap 3,6 --seed 1,2 --hidden 8 --updates 40 --eval-every 20 --lr 0.1,0.2 --out";
    let mut arguments: Vec<&OsStr> = words.split(' ').map(OsStr::new).collect();
    arguments.push(sweep.as_ref());
    training(&arguments);

    for dir in [run, sweep] {
        training(&["report".as_ref(), dir.as_ref()]);
        let page = dir.join("report/index.html");
        let source = fs::read_to_string(&page)?;
        for link in ["src=", "http://", "https://", "@import", "url("] {
            // The names of SVG's elements are no links.
            let rest = source.replace("http://www.w3.org/2000/svg", "");
            assert!(!rest.contains(link), "{link} in the page");
        }
        let (dom, console) = open(browser, &page);
        assert!(console.is_empty(), "{console:?}");
        assert!(dom.contains("Loss while training") || dom.contains("Learning curves"));
        // The script has drawn the gates and says which unit it shows.
        assert!(dom.contains("<output>unit "), "no unit is shown");
        assert!(dom.contains("<polyline points="), "no curves of a unit");
    }
    Ok(())
}
