//! `use lstm_core::…` in place of `use burn::nn::…`: one source, compiled against both.

mod random;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::{Device, Gradients, Tensor};
use lstm_core::convert::load_burn_nn;
use std::path::Path;

mod burns {
    mod layers {
        pub use burn::nn::gru::{BiGru, BiGruConfig, Gru, GruConfig};
        pub use burn::nn::{
            BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Lstm, LstmConfig, Rnn, RnnConfig,
        };
    }
    pub mod program {
        include!("drop_in/program.rs");
    }
}

mod ours {
    mod layers {
        pub use lstm_core::{
            BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Gru, GruConfig, Lstm,
            LstmConfig, Rnn, RnnConfig,
        };
    }
    pub mod program {
        include!("drop_in/program.rs");
    }
}

#[test]
fn one_source_runs_with_both() {
    let device = Device::flex();
    let shapes = ours::program::main(&device);
    assert_eq!(shapes, burns::program::main(&device));
    assert_eq!(shapes[0], [2, 6, 7]);
}

/// `ours` with the weights of `burns`, as its user would carry them over.
fn carry_over(
    burns: &burns::program::Layers,
    mut ours: ours::program::Layers,
    path: &Path,
) -> ours::program::Layers {
    let mut store = BurnpackStore::from_file(path);
    burns.save_into(&mut store).unwrap();
    load_burn_nn(&mut ours, &mut store).unwrap();
    ours
}

/// Puts each parameter's gradient in its place. Of the two biases of a gate that are only ever added one has none: ours
/// is their sum.
struct Gradient<'a> {
    of: &'a Gradients,
    path: Vec<String>,
}

impl ModuleMapper for Gradient<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let alone = path.contains("grus") && path.contains("new_gate");
        let twice = path.contains("hidden_transform.bias") && !alone;
        param.map(|weight| {
            let gradient = weight.grad(self.of).expect(&path);
            let gradient = Tensor::from_data(gradient.into_data(), &weight.device());
            if twice {
                gradient.zeros_like()
            } else {
                gradient
            }
        })
    }
}

/// The numbers of all parameters, by their paths, or their gradients.
struct Numbers<'a> {
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    all: Vec<(String, Tensor<1>)>,
}

impl Numbers<'_> {
    fn of<M: Module>(module: &M, gradients: Option<&Gradients>) -> Vec<(String, Tensor<1>)> {
        let mut visitor = Numbers {
            gradients,
            path: vec![],
            all: vec![],
        };
        module.visit(&mut visitor);
        visitor.all
    }
}

impl ModuleVisitor for Numbers<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let numbers = match self.gradients {
            Some(gradients) => param.val().grad(gradients).expect(&path),
            None => param.val(),
        };
        self.all.push((path, numbers.flatten(0, D - 1)));
    }
}

fn assert_close<const D: usize>(what: &str, got: Tensor<D>, want: Tensor<D>) {
    let (got, want) = (got.into_data(), want.into_data());
    assert_eq!(got.shape(), want.shape(), "{what}");
    // A gradient may be the small rest of large terms.
    let largest = want.iter::<f32>().fold(1.0, |a: f32, b| a.max(b.abs()));
    let [got, want] = [got, want].map(|data| data.iter::<f32>().collect::<Vec<_>>());
    for (got, want) in got.into_iter().zip(want) {
        let error = (got - want).abs();
        let bound = 1e-5 * want.abs() + 1e-6 * largest;
        assert!(error <= bound, "{what}: {got}, burn::nn's is {want}");
    }
}

/// With the same weights the same numbers, with each option, and the same gradients of all that goes in.
#[test]
fn both_compute_the_same() {
    let device = Device::flex().autodiff();
    let folder = tempfile::tempdir().unwrap();
    let random = |shape: [usize; 3]| random::uniform::<3>(shape, &device);
    // The same in each run: at a corner a gradient hangs on the last bit of a sum.
    let burns = random::weights(burns::program::Layers::init(&device));
    let ours = ours::program::Layers::init(&device);
    let ours = carry_over(&burns, ours, &folder.path().join("weights.bpk"));
    let given = [[4, 6, 3], [2, 6, 5], [2, 6, 5]].map(&random);

    let leaves = || given.clone().map(|tensor| tensor.detach().require_grad());
    let (leaves_burns, leaves_ours) = (leaves(), leaves());
    let [x, h, c] = &leaves_burns;
    let results_burns = burns.run(x, h, c);
    let [x, h, c] = &leaves_ours;
    let results_ours = ours.run(x, h, c);
    assert_eq!(results_ours.len(), results_burns.len());
    let upstream: Vec<_> = results_burns.iter().map(|y| random(y.dims())).collect();
    let backward = |results: &[Tensor<3>]| {
        let losses = results.iter().zip(&upstream);
        let losses = losses.map(|(y, upstream)| (y.clone() * upstream.clone()).sum());
        losses.reduce(|a, b| a + b).unwrap().backward()
    };
    let gradients_burns = backward(&results_burns);
    let gradients_ours = backward(&results_ours);
    for (k, (got, want)) in results_ours.into_iter().zip(results_burns).enumerate() {
        assert_close(&format!("result {k}"), got, want);
    }
    for (k, name) in ["input", "hidden state", "cell state"].iter().enumerate() {
        let want = leaves_burns[k].grad(&gradients_burns).unwrap();
        let got = leaves_ours[k].grad(&gradients_ours).unwrap();
        assert_close(&format!("gradient of the {name}"), got, want);
    }

    // The gradients, carried over as if they were weights.
    let mut gradient = Gradient {
        of: &gradients_burns,
        path: vec![],
    };
    let want = burns.map(&mut gradient);
    let want = carry_over(&want, ours.clone(), &folder.path().join("gradients.bpk"));
    let want = Numbers::of(&want, None);
    let got = Numbers::of(&ours, Some(&gradients_ours));
    assert_eq!(got.len(), want.len());
    for ((path, got), (_, want)) in got.into_iter().zip(want) {
        assert_close(&format!("gradient of {path}"), got, want.inner());
    }
}
