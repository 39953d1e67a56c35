//! The report as one HTML file: nothing is loaded from elsewhere.

use super::figure::Figure;
use super::findings::{ArmFindings, Findings, Found};
use super::memory::GateData;
use crate::draw::for_page;
use crate::stats::median_until_solved;
use crate::text::thousands;
use anyhow::Result;
use itertools::Itertools;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A part of the page.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What holds for all of its pictures, in plain words.
    pub words: String,
    /// Its pictures.
    pub figures: Vec<Figure>,
}

/// What stands in every page, also of earlier versions.
const NOT_SOLVED: &str = "“Not solved” means not within the updates given, not that it cannot be.";

/// Whether a page was made here.
pub fn is_ours(page: &str) -> bool {
    page.contains(NOT_SOLVED)
}

/// The whole page.
pub fn page(findings: &Findings, sections: &[Section], gates: &[GateData]) -> Result<String> {
    let title = format!("{}: {}", findings.name, findings.task.name());
    let sections = sections.iter().filter(|one| !one.figures.is_empty());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                h1 { (title) }
                (introduction(findings))
                @for section in sections {
                    h2 { (section.title) }
                    @if !section.words.is_empty() { p { (section.words) } }
                    div class="figures" {
                        @for figure in &section.figures { (self::figure(figure, findings)) }
                    }
                }
                @if !gates.is_empty() { (self::gates(gates)?) }
                (published(findings))
            }
        }
    };
    Ok(page.into_string())
}

fn introduction(findings: &Findings) -> Markup {
    let criterion = findings.arms.iter().find_map(|arm| arm.runs.first());
    let criterion = criterion.map_or("", |run| run.task().criterion());
    html! {
        @if !findings.about.is_empty() { p { (findings.about) } }
        @if !findings.missing.is_empty() { p { strong { (findings.missing) } } }
        p {
            "Solved means: " (criterion) ". " (NOT_SOLVED) (findings.tuning)
        }
        ul {
            @for arm in &findings.arms {
                li { strong { (arm.name) } ": " (arm.conditions) ". " (verdict(findings, arm)) }
            }
        }
        (results(findings))
    }
}

/// At which gaps an arm solves the task, in words.
fn verdict(findings: &Findings, arm: &ArmFindings) -> String {
    let parts = findings.gaps.iter().map(|gap| (gap, arm.solved(*gap)));
    let parts = parts.filter(|(_, (_, runs))| *runs > 0);
    let mut parts = parts.map(|(gap, (solved, runs))| match gap {
        0 => format!("{solved} of {runs}"),
        gap => format!("{solved} of {runs} at gap {gap}"),
    });
    format!("Runs that solved it: {}.", parts.join(", "))
}

/// The table of what was found.
fn results(findings: &Findings) -> Markup {
    let numbers = [
        "gap",
        "steps",
        "learning rate",
        "weights",
        "solved",
        "updates of each run",
    ];
    let row = |arm: &ArmFindings, gap: usize| {
        let first = arm.at(gap).next()?;
        let mut updates = arm.at(gap).map(Found::outcome);
        let (solved, runs) = arm.solved(gap);
        Some([
            gap.to_string(),
            first.task().length().to_string(),
            first.result.settings.lr.to_string(),
            thousands(first.result.parameters),
            format!("{solved}/{runs}"),
            updates.join("; "),
        ])
    };
    html! {
        details {
            summary { "All figures as a table" }
            div class="scroll" {
                table {
                    tr {
                        th { "network" }
                        @for name in numbers { th class="number" { (name) } }
                    }
                    @for arm in &findings.arms {
                        @for row in findings.gaps.iter().filter_map(|gap| row(arm, *gap)) {
                            tr {
                                td { (arm.name) }
                                @for number in row { td class="number" { (number) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figure(figure: &Figure, findings: &Findings) -> Markup {
    let svg = for_page(&figure.svg, &figure.title);
    // What comes before is for files of its own.
    let svg = &svg[svg.find("<svg").unwrap_or(0)..];
    html! {
        figure id=(figure.file) {
            h3 { (figure.title) }
            (PreEscaped(svg))
            figcaption {
                (figure.words)
                details {
                    summary { "Under which conditions" }
                    @for arm in &findings.arms { (arm.name) ": " (arm.conditions) "." br; }
                }
            }
        }
    }
}

fn gates(gates: &[GateData]) -> Result<Markup> {
    const MAPS: [(&str, &str); 4] = [
        ("i", "input gate i: what is written"),
        ("f", "forget gate f: what is kept"),
        ("o", "output gate o: what is shown"),
        ("c", "memory c"),
    ];
    const KEYS: [(&str, &str); 3] = [
        ("#e69f00", "input gate i"),
        ("#009e73", "forget gate f"),
        ("#cc79a7", "output gate o"),
    ];
    // No text in it may end the script.
    let json = serde_json::to_string(gates)?.replace('<', "\\u003c");
    Ok(html! {
        h2 { "What the gates do, unit by unit" }
        p {
            "One held-out sequence, from left to right; each row is a hidden unit, those that hold most at the end on \
             top. Gates go from 0 (dark, shut) to 1 (yellow, open), the memory from negative (blue) to positive (red). \
             Triangles and dashed lines mark the steps whose input must be remembered. Move the slider to compare \
             units."
        }
        @for (k, data) in gates.iter().enumerate() {
            section class="gates" data-file=(data.file()) {
                h3 { (data.name()) }
                div class="maps" {
                    @for (gate, name) in MAPS {
                        div {
                            span class="quiet" { (name) }
                            svg class="marks" width="100%" aria-hidden="true" {}
                            canvas data-gate=(gate) role="img" aria-label=(name) {}
                        }
                    }
                }
                label for={ "unit-" (k) } {
                    "Unit " input id={ "unit-" (k) } type="range" min="0" value="0"; output {}
                }
                svg class="unit" role="img" aria-label="gates and memory of one unit" {}
                p class="quiet key" {
                    @for (colour, name) in KEYS {
                        span { i style={ "background:" (colour) } {} (name) }
                    }
                    span {
                        i style="background:#0078be" {}
                        "memory c, from " (format!("-{0:.2} (0) to {0:.2} (1)", data.largest()))
                    }
                }
            }
        }
        script type="application/json" id="gate-data" { (PreEscaped(json)) }
        script { (PreEscaped(include_str!("page.js"))) }
    })
}

fn published(findings: &Findings) -> Markup {
    let known = findings.task.entry().published;
    if known.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Beside published results" }
        p {
            "Theirs and ours differ in optimizer, budget and often in the form of the task: compare which networks \
             solve it and how far, not the counts."
        }
        div class="scroll" {
            table {
                tr { th { "network" } th { "result" } th { "source" } }
                @for one in known {
                    tr { td { (one.network) } td { (one.result) } td { (one.source) } }
                }
                @for arm in &findings.arms {
                    tr {
                        td { (arm.name) ": " (arm.conditions) }
                        td { (verdict(findings, arm)) (sequences(findings, arm)) }
                        td { strong { "here" } }
                    }
                }
            }
        }
    }
}

/// The medians of the sequences that it took to solve the task, where more than half of the runs did.
fn sequences(findings: &Findings, arm: &ArmFindings) -> String {
    let at = |gap: usize| {
        let solved = arm.at(gap).filter(|run| run.result.solved);
        // Those that go on once they have solved it don't say when that was.
        let solved = solved.filter(|run| run.task().stops_when_solved());
        let counts = solved.map(|run| run.result.updates * run.result.settings.batch);
        let counts: Vec<usize> = counts.collect();
        let middle = median_until_solved(&counts, arm.solved(gap).1)?;
        let middle = thousands(middle as usize);
        Some(match gap {
            0 => middle,
            gap => format!("{middle} at gap {gap}"),
        })
    };
    match &findings.gaps.iter().filter_map(|gap| at(*gap)).join(", ")[..] {
        "" => String::new(),
        all => format!(" Median of the training sequences it took: {all}."),
    }
}
