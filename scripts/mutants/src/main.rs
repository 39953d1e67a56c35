//! Faults on purpose, many in one build: `mutants SEED COUNT FILE...` puts COUNT of them, drawn by the seed, into the
//! files, each behind a switch, and prints one a line. A program with them does what it did, but for the one that the
//! environment's `MUTANT` names: tests that pass nevertheless don't see it. (cargo-mutants builds anew for each, which
//! takes minutes here.)
//!
//! Operators become others (`+` and `-`, `*` and `/`, `<` and `>=`, `&&` and `||`, ...), a negation goes, and functions
//! return at once, with nothing, a constant, or none, where their type has one. `scripts/mutants.sh` runs it.

use proc_macro2::Span;
use quote::ToTokens;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use std::fmt::Write;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A place in a file, what stands there instead, and what is said of it.
struct Fault {
    file: usize,
    line: usize,
    place: Range<usize>,
    /// With `@` for whether it is switched on.
    with: String,
    what: String,
}

struct Finder<'a> {
    file: usize,
    text: &'a str,
    function: String,
    found: Vec<Fault>,
}

impl Finder<'_> {
    fn text(&self, of: &impl Spanned) -> &str {
        &self.text[of.span().byte_range()]
    }

    fn add(&mut self, span: Span, place: Range<usize>, with: String, what: String) {
        let function = &self.function;
        self.found.push(Fault {
            file: self.file,
            line: span.start().line,
            place,
            with,
            what: format!("{what} in {function}"),
        });
    }

    /// A function that returns at once, with each of some values.
    fn returns(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let values: &[&str] = match &signature.output {
            syn::ReturnType::Default => &[""],
            syn::ReturnType::Type(_, of) => match of.to_token_stream().to_string().as_str() {
                "bool" => &["true", "false"],
                "usize" | "u32" | "u64" | "i64" => &["0", "1"],
                "f64" | "f32" => &["0.0", "1.0"],
                "String" => &["String::new()"],
                of if of.starts_with("Option <") => &["None"],
                of if of.starts_with("Vec <") => &["vec![]"],
                of if of.starts_with("Result < () ,") => &["Ok(())"],
                of if of.starts_with("Result < Vec <") => &["Ok(vec![])"],
                of if of.starts_with("Result < Option <") => &["Ok(None)"],
                of if of.starts_with("Result < bool ,") => &["Ok(true)", "Ok(false)"],
                _ => &[],
            },
        };
        if body.stmts.is_empty() {
            return;
        }
        let start = body.brace_token.span.open().byte_range().end;
        for value in values {
            let with = format!(" if @ {{ return {value}; }}");
            let what = format!("return {value}");
            self.add(signature.span(), start..start, with, what);
        }
    }

    fn inside(&mut self, signature: &syn::Signature, visit: impl FnOnce(&mut Self)) {
        if signature.constness.is_none() {
            let before = std::mem::replace(&mut self.function, signature.ident.to_string());
            visit(self);
            self.function = before;
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let mut texts = attributes
        .iter()
        .map(|one| one.to_token_stream().to_string());
    texts.any(|text| text.contains("cfg (test)") || text == "# [test]")
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    // Constants have no environment.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if is_test(&item.attrs) {
            return;
        }
        self.inside(&item.sig, |finder| {
            finder.returns(&item.sig, &item.block);
            visit::visit_block(finder, &item.block);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.inside(&item.sig, |finder| {
            finder.returns(&item.sig, &item.block);
            visit::visit_block(finder, &item.block);
        });
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if let syn::UnOp::Not(_) | syn::UnOp::Neg(_) = unary.op {
            let (all, inner) = (self.text(unary), self.text(&*unary.expr));
            let with = format!("(if @ {{ {inner} }} else {{ {all} }})");
            let what = format!("no `{}`", self.text(&unary.op));
            self.add(unary.span(), unary.span().byte_range(), with, what);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let operator = self.text(&binary.op);
        let other = match operator {
            "+" => "-",
            "-" => "+",
            "*" => "/",
            "/" => "*",
            "%" => "/",
            "+=" => "-=",
            "-=" => "+=",
            "*=" => "/=",
            "==" => "!=",
            "!=" => "==",
            "<" => ">=",
            ">" => "<=",
            "<=" => ">",
            ">=" => "<",
            "&&" => "||",
            "||" => "&&",
            "&" => "|",
            "|" => "&",
            "<<" => ">>",
            ">>" => "<<",
            _ => "",
        };
        let [all, left, right] = [
            self.text(binary),
            self.text(&*binary.left),
            self.text(&*binary.right),
        ];
        let binds = all.contains("let ") && !all.contains('{');
        if !other.is_empty() && !binds {
            let with = format!("(if @ {{ {left} {other} {right} }} else {{ {all} }})");
            let what = format!("`{other}` for `{operator}`");
            self.add(binary.op.span(), binary.span().byte_range(), with, what);
        }
        visit::visit_expr_binary(self, binary);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || {
        arguments
            .next()
            .expect("SEED COUNT FILE...")
            .parse()
            .expect("a number")
    };
    let (seed, count): (u64, u64) = (number(), number());
    let unfit = std::env::var("UNFIT").unwrap_or_default();
    let unfit: Vec<usize> = unfit
        .split_whitespace()
        .map(|n| n.parse().expect("a number"))
        .collect();
    let files: Vec<String> = arguments.collect();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect(file));
    let mut texts: Vec<String> = texts.collect();
    let mut all = vec![];
    for (file, text) in texts.iter().enumerate() {
        let mut finder = Finder {
            file,
            text,
            function: String::new(),
            found: vec![],
        };
        finder.visit_file(&syn::parse_file(text).expect(&files[file]));
        all.append(&mut finder.found);
    }
    eprintln!("{} possible", all.len());
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    // Not in each other.
    let mut drawn: Vec<(usize, Fault)> = vec![];
    for (number, fault) in all.into_iter().enumerate() {
        let apart = |(_, other): &(usize, Fault)| {
            let (one, two) = (&fault.place, &other.place);
            other.file != fault.file || one.end < two.start || two.end < one.start
        };
        if drawn.len() < count as usize && !unfit.contains(&number) && drawn.iter().all(apart) {
            drawn.push((number, fault));
        }
    }
    let mut listed = String::new();
    for (number, fault) in &drawn {
        let (file, line) = (&files[fault.file], fault.line);
        writeln!(listed, "{number}\t{file}:{line}\t{}", fault.what).expect("room");
    }
    print!("{listed}");
    drawn.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.place.start));
    for (number, fault) in drawn {
        let with = fault
            .with
            .replacen('@', &format!("crate::mutant({number})"), 1);
        texts[fault.file].replace_range(fault.place, &with);
    }
    for (file, text) in files.iter().zip(texts) {
        std::fs::write(file, text).expect(file);
    }
}
