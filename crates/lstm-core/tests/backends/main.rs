//! One corpus of cases on every backend: golden files of PyTorch and Keras, and central differences.
//!
//! A backend that is not at hand shows as `ignored`, by name. With `LSTM_CORE_REQUIRE_WGPU` set (as in
//! CI) a missing wgpu adapter is a failure instead. After the tests the largest relative error per
//! backend and data type is printed.

mod backend;
mod case;
mod differences;
mod dropout;
mod family;
mod golden;
mod options;
mod stacks;
mod tensors;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let backends = backend::all();
    let folder = golden::committed();
    let mut trials = golden::trials(&backends, folder);
    trials.extend(stacks::trials(&backends, folder));
    trials.extend(family::trials(&backends, folder));
    trials.extend(options::trials(&backends, folder));
    trials.extend(dropout::trials(&backends, folder));
    trials.extend(differences::trials(&backends));
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        tensors::print_largest_errors();
    }
    conclusion.exit();
}
