//! `training report`: pictures of a sweep or a run, as one HTML page and as files.

mod curves;
mod figure;
mod findings;
mod memory;
mod page;
mod success;

use crate::draw::for_file;
#[cfg(feature = "png")]
use crate::draw::png;
use crate::files::{make_folder, remove_old, write_whole};
use anyhow::{Result, ensure};
use findings::Findings;
use page::{Section, page};
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
    make_folder(&out)?;
    let file = out.join("index.html");
    let before = fs::read_to_string(&file).unwrap_or_default();
    ensure!(
        page::is_ours(&before) || !file.exists(),
        "{} is not a report of this program, and would be overwritten: choose another folder with --out",
        file.display()
    );

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
    let figures: Vec<_> = figures.chain(&gate_figures).collect();
    remove_stale(&out, &before, |name| {
        figures.iter().any(|one| one.file == name)
    })?;
    for figure in &figures {
        let svg = for_file(&figure.svg);
        write_whole(&out.join(format!("{}.svg", figure.file)), svg.as_bytes())?;
        #[cfg(feature = "png")]
        {
            use anyhow::Context;
            let png = png::render(&svg).with_context(|| format!("cannot draw {}", figure.file))?;
            write_whole(&out.join(format!("{}.png", figure.file)), &png)?;
        }
    }
    let html = page(&findings, &sections, &gates)?;
    write_whole(&file, html.as_bytes())?;
    Ok(file)
}

/// Removes the files of figures that the page before had and this one hasn't.
fn remove_stale(out: &Path, before: &str, is_drawn: impl Fn(&str) -> bool) -> Result<()> {
    let after = |mark| before.split(mark).skip(1);
    let names = after("<figure id=\"").chain(after("data-file=\""));
    let names = names.filter_map(|rest| Some(rest.split_once('"')?.0));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    for name in names.filter(is_name).filter(|name| !is_drawn(name)) {
        for kind in ["svg", "png"] {
            remove_old(&out.join(format!("{name}.{kind}")))?;
        }
    }
    Ok(())
}
