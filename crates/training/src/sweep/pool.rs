//! Worker processes, as many at once as there are cores to use.

use super::worker::WorkerRequest;
use anyhow::{Context, Result, anyhow};
use burn::train::Interrupter;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Has every request answered by a worker process, `workers` at a time, in order.
///
/// `answered` gets the number and the answer of each request as it comes. Returns whether all were
/// answered: `interrupter` stops the workers at once, since whatever they have not ended can be done again.
///
/// # Errors
///
/// If a worker fails or `answered` does; the others are stopped.
pub fn run(
    requests: &[WorkerRequest],
    workers: usize,
    interrupter: &Interrupter,
    mut answered: impl FnMut(usize, &str) -> Result<()>,
) -> Result<bool> {
    let queue = Mutex::new(requests.iter().enumerate());
    let failed = Interrupter::new();
    let stop = || interrupter.should_stop() || failed.should_stop();
    let (sender, receiver) = mpsc::channel();
    let mut failure = None;
    let mut count = 0;
    thread::scope(|scope| {
        for _ in 0..workers.min(requests.len()) {
            let (sender, queue, stop) = (sender.clone(), &queue, &stop);
            scope.spawn(move || {
                while !stop() {
                    // Nothing panics while it holds the lock.
                    let Some((number, request)) = queue.lock().ok().and_then(|mut q| q.next())
                    else {
                        return;
                    };
                    let Some(answer) = ask(request, stop).transpose() else {
                        return;
                    };
                    // The receiver outlives the threads.
                    let _ = sender.send((number, answer));
                }
            });
        }
        drop(sender);
        for (number, answer) in receiver {
            match answer.and_then(|answer| answered(number, &answer)) {
                Ok(()) => count += 1,
                Err(error) => {
                    failed.stop(None);
                    failure.get_or_insert(error);
                }
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(count == requests.len()),
    }
}

/// One worker's answer, or `None` if it was stopped.
fn ask(request: &WorkerRequest, stop: impl Fn() -> bool) -> Result<Option<String>> {
    /// How often a worker is asked whether it has ended: a small part of the shortest run.
    const PAUSE: Duration = Duration::from_millis(5);
    // Into files, not pipes: nobody has to empty them while the worker runs.
    let (mut output, mut messages) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut worker = Running(
        Command::new(program)
            .args(["sweep-worker", "--"]) // its name may begin with a dash
            .arg(&request.folder)
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(messages.try_clone()?)
            .spawn()
            .context("cannot start a worker process")?,
    );
    let mut line = serde_json::to_string(&request.job)?;
    line.push('\n');
    if let Some(input) = &mut worker.0.stdin {
        // A worker that is gone already says why below.
        let _ = input.write_all(line.as_bytes());
    }
    let status = loop {
        if stop() {
            return Ok(None);
        }
        if let Some(status) = worker.0.try_wait()? {
            break status;
        }
        thread::sleep(PAUSE);
    };
    let (output, messages) = (read(&mut output)?, read(&mut messages)?);
    if status.success() {
        return Ok(Some(output));
    }
    // A Ctrl-C in the terminal reaches the worker too, maybe before it is noticed here.
    thread::sleep(20 * PAUSE);
    if stop() {
        return Ok(None);
    }
    let name = &request.job.id;
    let messages = messages.trim();
    let why = messages.strip_prefix("error: ").unwrap_or(messages);
    Err(anyhow!("the run {name} failed ({status}): {why}"))
}

fn read(file: &mut File) -> Result<String> {
    let mut bytes = vec![];
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A worker, killed if it is left before its end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, or is to end now; there is nobody to tell if neither can be done.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
