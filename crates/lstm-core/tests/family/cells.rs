//! One of each kind of cell, its weights random numbers in float64, the same in every run.

use crate::random::uniform;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use lstm_core::{
    Cell, Gate, GruCellConfig, LayerNormLstmCellConfig, LstmCellConfig, LstmWithoutGate,
    LstmpCellConfig, PeepholeLstmCellConfig, RecurrentDropout, RecurrentState, RnnCellConfig,
    SLstmCellConfig, Zoneout,
};

pub const I: usize = 3;
pub const H: usize = 4;

/// What is to hold for cells of every kind.
pub trait Check {
    fn check<C: Cell>(&self, name: &str, cell: C);
}

/// Checks one of each.
pub fn all(device: &Device, check: &impl Check) {
    let lstm = || LstmCellConfig::new(I, H);
    let gru = || GruCellConfig::new(I, H);
    run(check, "rnn", RnnCellConfig::new(I, H).init(device));
    run(check, "lstm", lstm().init(device));
    let coupled = lstm().with_input_forget(true);
    run(check, "coupled lstm", coupled.init(device));
    run(check, "gru", gru().init(device));
    let before = gru().with_reset_after(false);
    run(check, "gru, reset before", before.init(device));
    run(
        check,
        "gru without bias",
        gru().with_bias(false).init(device),
    );
    for exponential in [false, true] {
        let slstm = SLstmCellConfig::new(I, H).with_exponential_forget(exponential);
        let name = format!("slstm, exponential forget gate {exponential}");
        run(check, &name, slstm.init(device));
    }
    let lstmp = LstmpCellConfig::new(lstm(), 2);
    run(check, "lstmp", lstmp.init(device));
    let coupled = LstmpCellConfig::new(lstm().with_input_forget(true), 2);
    run(check, "coupled lstmp", coupled.init(device));
    let peephole = PeepholeLstmCellConfig::new(lstm());
    run(check, "peephole lstm", peephole.init(device));
    let coupled = PeepholeLstmCellConfig::new(lstm().with_input_forget(true));
    run(check, "coupled peephole lstm", coupled.init(device));
    let norm = LayerNormLstmCellConfig::new(lstm());
    run(check, "layer-normalised lstm", norm.init(device));
    for gate in [Gate::Input, Gate::Forget, Gate::Output] {
        let cell = LstmWithoutGate::new(lstm().init(device), gate);
        run(check, &format!("lstm without {gate:?} gate"), cell);
    }
    // Not in training: there they are random.
    let mut zoneout = Zoneout::new(lstm().init(device), &[0.2, 0.4]);
    for keep in &mut zoneout.keep {
        keep.training = Param::from_bool(false);
    }
    run(check, "zoneout lstm", zoneout);
    let mut dropout = RecurrentDropout::new(gru().init(device), 0.3);
    dropout.dropout.training = Param::from_bool(false);
    run(check, "gru with dropout", dropout);
}

fn run<C: Cell>(check: &impl Check, name: &str, cell: C) {
    check.check(name, random_weights(cell));
}

/// The module with random numbers in float64 for all its parameters.
pub fn random_weights<M: Module>(module: M) -> M {
    struct Random;
    impl ModuleMapper for Random {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            // (A learned first state may be what its cell divides by.)
            let state = D == 1;
            let numbers = |old: Tensor<D>| random(old.dims(), &old.device());
            param.map(|old| match state {
                true => positive(numbers(old)),
                false => numbers(old),
            })
        }
    }
    module.map(&mut Random)
}

/// Random numbers in float64, tracked on an autodiff device.
pub fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let numbers = uniform(shape, (device, DType::F64));
    match device.is_autodiff() {
        true => numbers.detach().require_grad(),
        false => numbers,
    }
}

/// The numbers, but from 0.2 to 1.2.
fn positive<const D: usize>(numbers: Tensor<D>) -> Tensor<D> {
    let tracked = numbers.is_require_grad();
    let positive = (numbers.detach().abs() + 0.2).detach();
    match tracked {
        true => positive.require_grad(),
        false => positive,
    }
}

/// A random state of a cell for `batch` rows, all above zero: an sLSTM divides by a part of it.
pub fn random_state<C: Cell>(cell: &C, batch: usize, device: &Device) -> C::State {
    let zero = cell.zero_state(batch, (device, DType::F64));
    zero.map(|tensor| positive(random(tensor.dims(), device)))
}

pub fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// Fails unless all numbers are equal within `tolerance`.
pub fn assert_close<const D: usize>(what: &str, got: &Tensor<D>, want: &Tensor<D>, tolerance: f64) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    for (got, want) in numbers(got).into_iter().zip(numbers(want)) {
        let error = (got - want).abs();
        assert!(error <= tolerance, "{what}: expected {want}, got {got}");
    }
}

/// Fails unless the states' tensors are equal within `tolerance`.
pub fn assert_states_close<S: RecurrentState>(what: &str, got: &S, want: &S, tolerance: f64) {
    for (got, want) in got.tensors().iter().zip(want.tensors()) {
        assert_close(what, got, &want, tolerance);
    }
}
