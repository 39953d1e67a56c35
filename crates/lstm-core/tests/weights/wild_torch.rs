//! Files of PyTorch and NumPy as people have them (see wild_torch.py): their layer is found, whatever is around it, and gives
//! what it gave there.

use super::{committed, device, message, names};
use burn::tensor::{DType, FloatDType, Tensor, TensorData, Tolerance};
use lstm_core::convert::{
    Direction, FoundCell, FoundLayer, LoadFound, PyTorch, PyTorchNames, Source, WeightError,
    Weights,
};
use lstm_core::{
    BiGru, BiLstm, BiRnn, GruCell, GruStack, Lstm, LstmCell, LstmConfig, LstmStack, LstmpCell,
    Recurrent, RecurrentStack, Rnn, RnnStack,
};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn wild(name: &str) -> PathBuf {
    committed("wild").join(name)
}

fn read(name: &str) -> Weights {
    Weights::read(wild(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn expected<const D: usize>(of: &Weights, name: &str) -> Tensor<D> {
    let data = of.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    Tensor::from_data(data, &device())
}

fn assert_near<const D: usize>(what: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let tolerance = Tolerance::<f32>::absolute(1e-5);
    got.into_data()
        .assert_approx_eq(&want.into_data(), tolerance);
}

fn load<L: LoadFound>(found: &FoundLayer, weights: &Weights) -> L {
    let layer = found.load(weights, &device());
    layer.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a found layer on what it ran on in PyTorch.
fn check(file: &str, found: &FoundLayer, weights: &Weights, of: &Weights) {
    let x = expected::<3>(of, &format!("{file}/x"));
    let want = |what: &str| expected::<3>(of, &format!("{file}/{what}"));
    let (y, h, c) = match (found.cell, found.projection) {
        (FoundCell::Lstm, false) => {
            let (y, state) = load::<LstmStack>(found, weights).forward(x, None);
            (y, state.hidden, Some(state.cell))
        }
        (FoundCell::Lstm, true) => {
            let layer = load::<RecurrentStack<LstmpCell>>(found, weights);
            let (y, state) = layer.forward(x, None);
            (y, state.hidden, Some(state.cell))
        }
        (FoundCell::Rnn, _) => {
            let (y, state) = load::<RnnStack>(found, weights).forward(x, None);
            (y, state.hidden, None)
        }
        _ => {
            let (y, hidden) = load::<GruStack>(found, weights).forward(x, None);
            (y, hidden, None)
        }
    };
    assert_near(file, y, want("y"));
    assert_near(file, h, want("h"));
    if let Some(c) = c {
        assert_near(file, c, want("c"));
    }
}

/// Every file that there is an output of.
#[test]
fn outputs_of_wild_files_are_pytorchs() {
    let of = read("wild_torch.safetensors");
    let files: BTreeSet<_> = of
        .names()
        .filter_map(|name| name.split('/').next())
        .collect();
    assert!(files.len() > 30);
    for file in files {
        let weights = read(file);
        let layers = weights.recurrent_layers();
        println!("{file}\n{layers}");
        let found = layers.only().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.source, Source::PyTorch);
        check(file, found, &weights, &of);
    }
}
