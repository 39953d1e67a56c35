//! `training report`: pictures of a sweep or a run, as one HTML page and as files.

use super::curves;
use super::findings::Findings;
use super::memory;
use super::page::{Section, page};
use super::picture::for_file;
#[cfg(feature = "png")]
use super::png;
use super::success;
use crate::rundir::write_whole;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Draws everything; returns the page's path.
pub fn write(dir: &Path, out: Option<&Path>, gap: Option<usize>) -> Result<PathBuf> {
    let findings = Findings::read(dir)?;
    let gap = gap.unwrap_or_else(|| findings.telling_gap());
    ensure!(
        findings.gaps.contains(&gap),
        "--gap {gap} is not among the gaps of {}: {:?}",
        dir.display(),
        findings.gaps
    );
    let out = out.map_or_else(|| dir.join("report"), Path::to_path_buf);
    fs::create_dir_all(&out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;

    let mut losses = vec![];
    for gap in &findings.gaps {
        losses.extend(curves::figure(&findings, *gap)?);
    }
    let success = match findings.gaps.len() {
        // One gap makes no line.
        0 | 1 => vec![],
        _ => vec![success::rate(&findings)?, success::updates(&findings)?],
    };
    let (gate_figures, gates) = memory::gates(&findings, gap)?;
    let sections = [
        Section {
            title: "Which gaps are learned",
            words: String::new(),
            figures: success,
        },
        Section {
            title: "Learning curves",
            words: curves::words(&findings),
            figures: losses,
        },
        Section {
            title: "Where the gradient goes",
            words: String::new(),
            figures: memory::profiles(&findings, gap)?,
        },
        Section {
            title: "What the trained networks answer",
            words: String::new(),
            figures: {
                let mut figures = memory::predictions(&findings, gap)?;
                figures.extend(memory::other_gaps(&findings, gap)?);
                figures
            },
        },
    ];
    let figures = sections.iter().flat_map(|section| &section.figures);
    for figure in figures.chain(&gate_figures) {
        let svg = for_file(&figure.svg);
        write_whole(&out.join(format!("{}.svg", figure.file)), svg.as_bytes())?;
        #[cfg(feature = "png")]
        {
            let png = png::render(&svg).with_context(|| format!("cannot draw {}", figure.file))?;
            write_whole(&out.join(format!("{}.png", figure.file)), &png)?;
        }
    }
    let html = page(&findings, &sections, &gates)?;
    let file = out.join("index.html");
    write_whole(&file, html.as_bytes())?;
    Ok(file)
}
