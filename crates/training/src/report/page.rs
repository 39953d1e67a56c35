//! The report as one HTML file: nothing is loaded from elsewhere.

use super::figure::Figure;
use super::findings::Findings;
use super::memory::GateData;
use super::picture::for_page;
use super::published::{ALL, Published};
use anyhow::Result;
use std::fmt::Write;

/// A part of the page.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What holds for all of its pictures, in plain words.
    pub words: String,
    /// Its pictures.
    pub figures: Vec<Figure>,
}

/// The whole page.
pub fn page(findings: &Findings, sections: &[Section], gates: &[GateData]) -> Result<String> {
    let title = format!("{}: {}", findings.name, findings.task.name());
    let mut html = String::new();
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{style}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n",
        title = escape(&title),
        style = include_str!("page.css"),
    )?;
    introduction(&mut html, findings)?;
    for section in sections
        .iter()
        .filter(|section| !section.figures.is_empty())
    {
        writeln!(html, "<h2>{}</h2>", escape(section.title))?;
        if !section.words.is_empty() {
            writeln!(html, "<p>{}</p>", escape(&section.words))?;
        }
        html.push_str("<div class=\"figures\">\n");
        for figure in &section.figures {
            self::figure(&mut html, figure, findings)?;
        }
        html.push_str("</div>\n");
    }
    if !gates.is_empty() {
        self::gates(&mut html, gates)?;
    }
    published(&mut html, findings)?;
    html.push_str("</body>\n</html>\n");
    Ok(html)
}

fn introduction(html: &mut String, findings: &Findings) -> Result<()> {
    if !findings.about.is_empty() {
        writeln!(html, "<p>{}</p>", escape(&findings.about))?;
    }
    let Some(run) = findings.arms.iter().find_map(|arm| arm.runs.first()) else {
        return Ok(());
    };
    writeln!(
        html,
        "<p>Solved means: {}. “Not solved” means not within the updates given, not that it cannot be.{}</p>",
        escape(run.task().criterion()),
        match findings.tuned {
            true =>
                " The learning rate of each line was chosen at each gap from the same grid, on seeds that \
                 are not among those reported.",
            false => "",
        }
    )?;
    html.push_str("<ul>\n");
    for arm in &findings.arms {
        writeln!(
            html,
            "<li><strong>{}</strong>: {}. {}</li>",
            escape(&arm.name),
            escape(&arm.conditions),
            escape(&verdict(findings, arm)),
        )?;
    }
    html.push_str("</ul>\n");
    results(html, findings)
}

/// At which gaps an arm solves the task, in words.
fn verdict(findings: &Findings, arm: &super::findings::Arm) -> String {
    let mut parts = vec![];
    for gap in &findings.gaps {
        let (solved, runs) = arm.solved(*gap);
        if runs > 0 {
            parts.push(match gap {
                0 => format!("{solved} of {runs}"),
                gap => format!("{solved} of {runs} at gap {gap}"),
            });
        }
    }
    format!("Runs that solved it: {}.", parts.join(", "))
}

/// The table of what was found.
fn results(html: &mut String, findings: &Findings) -> Result<()> {
    html.push_str(
        "<details><summary>All figures as a table</summary><div class=\"scroll\"><table>\n<tr><th>network\
         </th><th class=\"number\">gap</th><th class=\"number\">steps</th><th class=\"number\">learning \
         rate</th><th class=\"number\">weights</th><th class=\"number\">solved</th><th class=\"number\">\
         updates of each run</th></tr>\n",
    );
    for arm in &findings.arms {
        for gap in &findings.gaps {
            let Some(first) = arm.at(*gap).next() else {
                continue;
            };
            let updates: Vec<String> = arm
                .at(*gap)
                .map(|run| {
                    let made = super::thousands(run.result.updates);
                    match run.result.solved {
                        true => made,
                        false => format!("not in {made}"),
                    }
                })
                .collect();
            let (solved, runs) = arm.solved(*gap);
            writeln!(
                html,
                "<tr><td>{}</td><td class=\"number\">{gap}</td><td class=\"number\">{}</td><td \
                 class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{solved}/{runs}\
                 </td><td class=\"number\">{}</td></tr>",
                escape(&arm.name),
                first.task().length(),
                first.result.settings.lr,
                super::thousands(first.result.parameters),
                updates.join("; "),
            )?;
        }
    }
    html.push_str("</table></div></details>\n");
    Ok(())
}

fn figure(html: &mut String, figure: &Figure, findings: &Findings) -> Result<()> {
    let svg = for_page(&figure.svg, &figure.title);
    // What comes before is for files of its own.
    let svg = &svg[svg.find("<svg").unwrap_or(0)..];
    write!(
        html,
        "<figure id=\"{}\">\n<h3>{}</h3>\n{svg}\n<figcaption>{}\n<details><summary>Under which \
         conditions</summary>",
        figure.file,
        escape(&figure.title),
        escape(&figure.words),
    )?;
    for arm in &findings.arms {
        write!(
            html,
            "{}: {}.<br>",
            escape(&arm.name),
            escape(&arm.conditions)
        )?;
    }
    html.push_str("</details></figcaption>\n</figure>\n");
    Ok(())
}

fn gates(html: &mut String, gates: &[GateData]) -> Result<()> {
    const MAPS: [(&str, &str); 4] = [
        ("i", "input gate i: what is written"),
        ("f", "forget gate f: what is kept"),
        ("o", "output gate o: what is shown"),
        ("c", "memory c"),
    ];
    html.push_str(
        "<h2>What the gates do, unit by unit</h2>\n<p>One held-out sequence, from left to right; each row is \
         a hidden unit, those that hold most at the end on top. Gates go from 0 (dark, shut) to 1 (yellow, \
         open), the memory from negative (blue) to positive (red). Triangles and dashed lines mark the steps \
         whose input must be remembered. Move the slider to compare units.</p>\n",
    );
    for (k, data) in gates.iter().enumerate() {
        write!(
            html,
            "<section class=\"gates\"><h3>{}</h3>\n<div class=\"maps\">\n",
            escape(data.name())
        )?;
        for (gate, name) in MAPS {
            writeln!(
                html,
                "<div><span class=\"quiet\">{name}</span><svg class=\"marks\" width=\"100%\" \
                 aria-hidden=\"true\"></svg><canvas data-gate=\"{gate}\" role=\"img\" aria-label=\"{name}\">\
                 </canvas></div>"
            )?;
        }
        write!(
            html,
            "</div>\n<label for=\"unit-{k}\">Unit <input id=\"unit-{k}\" type=\"range\" min=\"0\" value=\"0\">\
             <output></output></label>\n<svg class=\"unit\" role=\"img\" aria-label=\"gates and memory of one \
             unit\"></svg>\n<p class=\"quiet key\"><span><i style=\"background:#e69f00\"></i>input gate i</span>\
             <span><i style=\"background:#009e73\"></i>forget gate f</span><span><i \
             style=\"background:#cc79a7\"></i>output gate o</span><span><i style=\"background:#0078be\"></i>\
             memory c, from -{largest:.2} (0) to {largest:.2} (1)</span></p></section>\n",
            largest = data.largest(),
        )?;
    }
    write!(
        html,
        "<script type=\"application/json\" id=\"gate-data\">{}</script>\n<script>\n{}</script>\n",
        // No text in it may end the script.
        serde_json::to_string(gates)?.replace('<', "\\u003c"),
        include_str!("page.js"),
    )?;
    Ok(())
}

fn published(html: &mut String, findings: &Findings) -> Result<()> {
    let known: Vec<&Published> = ALL
        .iter()
        .filter(|published| published.tasks.contains(&findings.task))
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    html.push_str(
        "<h2>Beside published results</h2>\n<p>Theirs and ours differ in optimizer, budget and often in the \
         form of the task: compare which networks solve it and how far, not the counts.</p>\n<div \
         class=\"scroll\"><table>\n<tr><th>network</th><th>result</th><th>source</th></tr>\n",
    );
    for Published {
        network,
        result,
        source,
        ..
    } in known
    {
        writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(network),
            escape(result),
            escape(source)
        )?;
    }
    for arm in &findings.arms {
        let sequences: Vec<String> = findings
            .gaps
            .iter()
            .filter_map(|gap| sequences(arm, *gap))
            .collect();
        let sequences = match sequences.is_empty() {
            true => String::new(),
            false => format!(
                " Median of the training sequences it took: {}.",
                sequences.join(", ")
            ),
        };
        writeln!(
            html,
            "<tr><td>{}: {}</td><td>{}{sequences}</td><td><strong>here</strong></td></tr>",
            escape(&arm.name),
            escape(&arm.conditions),
            escape(&verdict(findings, arm)),
        )?;
    }
    html.push_str("</table></div>\n");
    Ok(())
}

/// The median of the sequences that it took to solve the task; `None` if half of the runs or more did not.
fn sequences(arm: &super::findings::Arm, gap: usize) -> Option<String> {
    let solved = arm.at(gap).filter(|run| run.result.solved);
    let counts: Vec<usize> = solved
        .map(|run| run.result.updates * run.result.settings.batch)
        .collect();
    let middle = crate::stats::median_until_solved(&counts, arm.solved(gap).1)?;
    let middle = super::thousands(middle as usize);
    Some(match gap {
        0 => middle,
        gap => format!("{middle} at gap {gap}"),
    })
}

/// Text within HTML or an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
