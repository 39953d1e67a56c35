//! Weights that are written here, in PyTorch and Keras themselves (see check_written.py).

use super::family::{gru_cell, random, stack, tensors};
use super::{committed, device, names};
use burn::tensor::{Distribution, Tensor, TensorData, s};
use lstm_core::convert::{Keras, PyTorch, Weights};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmStackConfig, LstmpCellConfig, RecurrentStack,
    StackedState,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// What some layers have been run on.
struct Rows {
    x: Tensor<3>,
    lengths: Vec<usize>,
}

impl Rows {
    /// Zero beyond the rows' ends, where Keras' `Masking` finds them.
    fn random(shape: [usize; 3], lengths: Vec<usize>) -> Self {
        let x = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device());
        let x = lengths.iter().enumerate().fold(x, |x, (row, length)| {
            let beyond = s![row..row + 1, *length.., ..];
            match *length < shape[1] {
                true => x.slice_fill(beyond, 0.0),
                false => x,
            }
        });
        Self { x, lengths }
    }

    /// What check_written.py wants to know, but for the weights.
    fn results(&self, y: Tensor<3>, states: Vec<(&str, Tensor<3>)>) -> Weights {
        let mut weights = Weights::new();
        let lengths = self.lengths.iter().map(|length| *length as f32);
        let lengths = lengths.collect::<Vec<_>>();
        weights.insert("lengths", TensorData::new(lengths, [self.lengths.len()]));
        for (name, tensor) in states.into_iter().chain([("x", self.x.clone()), ("y", y)]) {
            weights.insert(name, tensor.into_data());
        }
        weights
    }

    fn run<C: Cell<State: StackedState>>(&self, stack: &RecurrentStack<C>) -> Weights {
        let (y, state) = stack.forward_with_lengths(self.x.clone(), None, &self.lengths);
        self.results(y, tensors(&state))
    }
}

/// PyTorch and Keras themselves load what is written here, and give the same outputs; with new numbers,
/// sizes and lengths on every run.
#[test]
#[ignore = "python3, or what LSTM_CORE_PYTHON names, must have PyTorch and Keras"]
fn pytorch_and_keras_run_what_is_written_here() {
    let python = std::env::var_os("LSTM_CORE_PYTHON").unwrap_or("python3".into());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("written.safetensors");
    let check = |weights: Weights| {
        weights.write_safetensors(&path).unwrap();
        let run = std::process::Command::new(&python)
            .args([committed("check_written.py"), path.clone()])
            .output()
            .expect("LSTM_CORE_PYTHON names a Python");
        let printed = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{weights:?}: {printed}");
    };
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    println!("sizes by seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for bidirectional in [false, true] {
        let mut size = |largest| rng.random_range(1..=largest);
        let [b, t, i, h, layers] = [size(6), size(9), size(5), 1 + size(7), size(3)];
        let rows = Rows::random([b, t, i], (0..b).map(|_| size(t)).collect());
        let class = |name: &str| match bidirectional {
            true => "layers/bidirectional".to_string(),
            false => format!("layers/{name}"),
        };

        for reset_after in [true, false] {
            let gru = stack([i, h, layers], bidirectional, |d_input| {
                gru_cell(GruCellConfig::new(d_input, h).with_reset_after(reset_after))
            });
            let mut weights = rows.run(&gru);
            gru.to_keras(&mut weights, &class("gru")).unwrap();
            check(weights);
            if reset_after {
                let mut weights = rows.run(&gru);
                gru.to_pytorch(&mut weights, &names("rnn")).unwrap();
                check(weights);
            }
        }

        let lstm = LstmStackConfig::new(i, h, layers, true).with_bidirectional(bidirectional);
        let lstm = random(lstm.init(&device()));
        let (y, state) = lstm.forward_with_lengths(rows.x.clone(), None, &rows.lengths);
        let states = vec![("h", state.hidden), ("c", state.cell)];
        let mut weights = rows.results(y.clone(), states.clone());
        lstm.to_keras(&mut weights, &class("lstm")).unwrap();
        check(weights);
        let mut weights = rows.results(y, states);
        lstm.to_pytorch(&mut weights, &names("rnn")).unwrap();
        check(weights);

        // PyTorch's projections are to fewer features.
        let lstmp = stack([i, h - 1, layers], bidirectional, |d_input| {
            LstmpCellConfig::new(LstmCellConfig::new(d_input, h), h - 1).init(&device())
        });
        let mut weights = rows.run(&lstmp);
        lstmp.to_pytorch(&mut weights, &names("rnn")).unwrap();
        check(weights);
    }
}
