//! `From<burn::nn::…>`: same outputs, states and input gradients as the module the weights came from,
//! with every option. The weights are random, and the same in each run: where a number comes to lie at ReLU's corner or at
//! a bound, its gradient hangs on the last bit of a sum.

mod random;

use burn::nn::activation::ActivationConfig;
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Device, Tensor, Tolerance, s};
use lstm_core::{BiGru, BiLstm, BiRnn, Gru, GruCell, Lstm, LstmConfig, Recurrent, Rnn};

const B: usize = 3;
const T: usize = 6;
const I: usize = 4;
const H: usize = 5;

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    random::normal(shape, &device())
}

/// A gradient may be the small rest of large terms, and is then off by what these are rounded by: the
/// absolute tolerance goes by the largest element.
fn assert_same<const D: usize>(ours: Tensor<D>, burns: Tensor<D>) {
    let (ours, burns) = (ours.into_data(), burns.into_data());
    let largest = burns.iter::<f32>().fold(1.0, |a: f32, b| a.max(b.abs()));
    ours.assert_approx_eq::<f32>(&burns, Tolerance::rel_abs(1e-5, 1e-6 * largest));
}

/// Runs both on one input and compares outputs, states and, through a random projection of all of
/// them, the input's gradients.
fn assert_same_run<const S: usize>(
    input: Tensor<3>,
    ours: impl Fn(Tensor<3>) -> (Tensor<3>, Vec<Tensor<S>>),
    burns: impl Fn(Tensor<3>) -> (Tensor<3>, Vec<Tensor<S>>),
) {
    let (input_ours, input_burns) = (input.clone().require_grad(), input.require_grad());
    let (output_ours, states_ours) = ours(input_ours.clone());
    let (output_burns, states_burns) = burns(input_burns.clone());
    let projection = random(output_burns.dims());
    let mut loss_ours = (output_ours.clone() * projection.clone()).sum();
    let mut loss_burns = (output_burns.clone() * projection).sum();
    assert_same(output_ours, output_burns);
    for (state_ours, state_burns) in states_ours.into_iter().zip(states_burns) {
        let projection = random(state_burns.dims());
        loss_ours = loss_ours + (state_ours.clone() * projection.clone()).sum();
        loss_burns = loss_burns + (state_burns.clone() * projection).sum();
        assert_same(state_ours, state_burns);
    }
    let (gradients_ours, gradients_burns) = (loss_ours.backward(), loss_burns.backward());
    assert_same(
        input_ours.grad(&gradients_ours).unwrap(),
        input_burns.grad(&gradients_burns).unwrap(),
    );
}

fn input(batch_first: bool) -> Tensor<3> {
    match batch_first {
        true => random([B, T, I]),
        false => random([T, B, I]),
    }
}

#[test]
fn lstm() {
    for bits in 0..64 {
        let option = |k: usize| bits >> k & 1 == 1;
        let (bias, batch_first, coupled) = (option(0), option(1), option(2));
        let config = burn::nn::LstmConfig::new(I, H, bias)
            .with_batch_first(batch_first)
            .with_input_forget(coupled)
            .with_reverse(option(3))
            .with_clip(option(4).then_some(0.4))
            .with_cell_activation(match option(5) {
                true => ActivationConfig::Relu,
                false => ActivationConfig::Tanh,
            });
        let burns = random::weights(config.init(&device()));
        let ours = Lstm::from(burns.clone());
        assert_eq!(
            ours.cell.input_weight.dims(),
            [I, if coupled { 3 * H } else { 4 * H }]
        );
        let state = option(0).then(|| LstmState::new(random([B, H]), random([B, H])));
        assert_same_run(
            input(batch_first),
            |x| {
                let (y, state) = ours.forward(x, state.clone());
                (y, vec![state.cell, state.hidden])
            },
            |x| {
                let (y, state) = burns.forward(x, state.clone());
                (y, vec![state.cell, state.hidden])
            },
        );
    }
}

#[test]
fn bilstm() {
    for bits in 0..8 {
        let option = |k: usize| bits >> k & 1 == 1;
        let config = burn::nn::BiLstmConfig::new(I, H, option(0))
            .with_batch_first(option(1))
            .with_input_forget(option(2));
        let burns = random::weights(config.init(&device()));
        let ours = BiLstm::from(burns.clone());
        let state = option(0).then(|| LstmState::new(random([2, B, H]), random([2, B, H])));
        assert_same_run(
            input(option(1)),
            |x| {
                let (y, state) = ours.forward(x, state.clone());
                (y, vec![state.cell, state.hidden])
            },
            |x| {
                let (y, state) = burns.forward(x, state.clone());
                (y, vec![state.cell, state.hidden])
            },
        );
    }
}

#[test]
fn rnn() {
    for bits in 0..32 {
        let option = |k: usize| bits >> k & 1 == 1;
        let config = burn::nn::RnnConfig::new(I, H, option(0))
            .with_batch_first(option(1))
            .with_reverse(option(2))
            .with_clip(option(3).then_some(0.4))
            .with_hidden_activation(match option(4) {
                true => ActivationConfig::Relu,
                false => ActivationConfig::Tanh,
            });
        let burns = random::weights(config.init(&device()));
        let ours = Rnn::from(burns.clone());
        let hidden = option(0).then(|| random([B, H]));
        assert_same_run(
            input(option(1)),
            |x| {
                let (y, state) = ours.forward(x, hidden.clone().map(RnnState::new));
                (y, vec![state.hidden])
            },
            |x| {
                let (y, state) = burns.forward(x, hidden.clone().map(RnnState::new));
                (y, vec![state.hidden])
            },
        );
    }
}

#[test]
fn birnn() {
    for bits in 0..4 {
        let option = |k: usize| bits >> k & 1 == 1;
        let config = burn::nn::BiRnnConfig::new(I, H, option(0)).with_batch_first(option(1));
        let burns = random::weights(config.init(&device()));
        let ours = BiRnn::from(burns.clone());
        let hidden = option(0).then(|| random([2, B, H]));
        assert_same_run(
            input(option(1)),
            |x| {
                let (y, state) = ours.forward(x, hidden.clone().map(RnnState::new));
                (y, vec![state.hidden])
            },
            |x| {
                let (y, state) = burns.forward(x, hidden.clone().map(RnnState::new));
                (y, vec![state.hidden])
            },
        );
    }
}

#[test]
fn gru() {
    for bits in 0..16 {
        let option = |k: usize| bits >> k & 1 == 1;
        let config = burn::nn::GruConfig::new(I, H, option(0))
            .with_reset_after(option(1))
            .with_clip(option(2).then_some(0.4))
            .with_hidden_activation(match option(3) {
                true => ActivationConfig::Relu,
                false => ActivationConfig::Tanh,
            });
        let burns = random::weights(config.init(&device()));
        let ours = Recurrent::<GruCell>::from(burns.clone());
        let state = option(0).then(|| random([B, H]));
        // It doesn't give the last state, which is the last output.
        let last = |y: &Tensor<3>| vec![y.clone().slice(s![.., -1, ..])];
        let forward = |x: Tensor<3>| ours.forward(x, state.clone()).0;
        let layer = Gru::from(burns.clone());
        assert_same_run(
            input(true),
            |x| {
                let (y, last) = layer.forward_with_state(x, state.clone());
                (y, vec![last])
            },
            |x| {
                let y = burns.forward(x, state.clone());
                (y.clone(), vec![y.slice(s![.., -1, ..]).squeeze_dim::<2>(1)])
            },
        );
        for burns in [burns, ours.cell.clone().into()] {
            assert_same_run(
                input(true),
                |x| {
                    let y = forward(x);
                    (y.clone(), last(&y))
                },
                |x| {
                    let y = burns.forward(x, state.clone());
                    (y.clone(), last(&y))
                },
            );
        }
    }
}

#[test]
fn bigru() {
    for bits in 0..8 {
        let option = |k: usize| bits >> k & 1 == 1;
        let config = burn::nn::BiGruConfig::new(I, H, option(0))
            .with_batch_first(option(1))
            .with_reset_after(option(2));
        let burns = random::weights(config.init(&device()));
        let ours = BiGru::from(burns.clone());
        let state = option(0).then(|| random([2, B, H]));
        let back = burn::nn::BiGru::from(ours.clone());
        for burns in [burns, back] {
            assert_same_run(
                input(option(1)),
                |x| {
                    let (y, state) = ours.forward(x, state.clone());
                    (y, vec![state])
                },
                |x| {
                    let (y, state) = burns.forward(x, state.clone());
                    (y, vec![state])
                },
            );
        }
    }
}

#[test]
#[should_panic(expected = "burn::nn: its layers have no place for a learned initial state")]
fn a_learned_state_is_not_dropped_in_silence() {
    let layer = LstmConfig::new(I, H, true).init(&device());
    let _ = burn::nn::Lstm::from(layer.with_learned_state(&device()));
}

#[test]
fn converted_weights_train() {
    let ours = Lstm::from(burn::nn::LstmConfig::new(I, H, true).init(&device()));
    let gradients = ours.forward(input(true), None).0.sum().backward();
    for weight in [&ours.cell.input_weight, &ours.cell.recurrent_weight] {
        assert!(weight.grad(&gradients).is_some());
    }
    assert!(ours.cell.bias.unwrap().grad(&gradients).is_some());
}
