// A user's program, compiled twice by drop_in.rs: with `burn::nn`'s recurrent layers and with ours in
// scope as `Lstm`, `LstmConfig`, ... Nothing in it may know which.

use super::layers::*;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, Linear, LinearConfig, LstmState, RnnState};
use burn::tensor::{Device, Distribution, Tensor};

#[derive(Config, Debug)]
pub struct TaggerConfig {
    lstm: LstmConfig,
    bilstm: BiLstmConfig,
    classes: usize,
}

#[derive(Module, Debug)]
pub struct Tagger {
    lstm: Lstm,
    bilstm: BiLstm,
    head: Linear,
}

impl TaggerConfig {
    pub fn init(&self, device: &Device) -> Tagger {
        Tagger {
            lstm: self.lstm.init(device),
            bilstm: self.bilstm.init(device),
            head: LinearConfig::new(2 * self.bilstm.d_hidden, self.classes).init(device),
        }
    }
}

impl Tagger {
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let (hidden, state): (Tensor<3>, LstmState<2>) = self.lstm.forward(input, None);
        assert_eq!(state.cell.dims()[1], self.lstm.d_hidden);
        let (hidden, _state): (Tensor<3>, LstmState<3>) = self.bilstm.forward(hidden, None);
        self.head.forward(hidden)
    }
}

/// Every option of every layer, and a training step; returns all shapes that came out.
pub fn main(device: &Device) -> Vec<Vec<usize>> {
    let device = device.clone().autodiff();
    let config = TaggerConfig::new(
        LstmConfig::new(3, 5, true)
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
            .with_reverse(true)
            .with_clip(Some(3.0))
            .with_input_forget(true)
            .with_gate_activation(ActivationConfig::Sigmoid)
            .with_cell_activation(ActivationConfig::Relu)
            .with_hidden_activation(ActivationConfig::Tanh),
        BiLstmConfig::new(5, 4, false)
            .with_initializer(Initializer::Normal {
                mean: 0.0,
                std: 0.1,
            })
            .with_clip(None)
            .with_input_forget(false)
            .with_gate_activation(ActivationConfig::Sigmoid)
            .with_cell_activation(ActivationConfig::Tanh)
            .with_hidden_activation(ActivationConfig::Tanh),
        7,
    );
    let config: TaggerConfig = {
        let json = serde_json::to_string(&config).unwrap();
        serde_json::from_str(&json).unwrap()
    };
    let tagger = config.init(&device);
    let input = Tensor::random([2, 6, 3], Distribution::Default, &device);
    let output = tagger.forward(input.clone());
    let mut shapes = vec![output.dims().to_vec()];

    let gradients = output.mean().backward();
    let gradients = burn::optim::GradientsParams::from_grads(gradients, &tagger);
    let tagger = burn::optim::AdamConfig::new()
        .init()
        .step(1e-3, tagger, gradients);
    let bytes = tagger.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let tagger = config.init(&device).load_record(record);
    shapes.push(tagger.forward(input.clone()).dims().to_vec());

    let rnn: Rnn = RnnConfig::new(3, 5, true)
        .with_initializer(Initializer::XavierNormal { gain: 1.0 })
        .with_batch_first(false)
        .with_reverse(false)
        .with_clip(Some(0.5))
        .with_hidden_activation(ActivationConfig::Relu)
        .init(&device);
    let state = RnnState::new(Tensor::zeros([6, 5], &device));
    let (output, state): (Tensor<3>, RnnState<2>) = rnn.forward(input.clone(), Some(state));
    shapes.extend([output.dims().to_vec(), state.hidden.dims().to_vec()]);
    assert_eq!(
        (rnn.d_hidden, rnn.batch_first, rnn.reverse),
        (5, false, false)
    );

    let birnn: BiRnn = BiRnnConfig::new(3, 5, true)
        .with_initializer(Initializer::XavierNormal { gain: 1.0 })
        .with_batch_first(true)
        .with_clip(None)
        .with_hidden_activation(ActivationConfig::Tanh)
        .init(&device);
    let state = RnnState::new(Tensor::zeros([2, 2, 5], &device));
    let (output, state): (Tensor<3>, RnnState<3>) = birnn.forward(input.clone(), Some(state));
    shapes.extend([output.dims().to_vec(), state.hidden.dims().to_vec()]);
    assert_eq!(birnn.forward.d_hidden + birnn.reverse.d_hidden, 10);

    let gru: Gru = GruConfig::new(3, 5, true)
        .with_initializer(Initializer::XavierNormal { gain: 1.0 })
        .with_reset_after(false)
        .with_clip(Some(0.5))
        .with_gate_activation(ActivationConfig::Sigmoid)
        .with_hidden_activation(ActivationConfig::Tanh)
        .init(&device);
    let output: Tensor<3> = gru.forward(input.clone(), Some(Tensor::zeros([2, 5], &device)));
    shapes.push(output.dims().to_vec());
    assert_eq!(gru.d_hidden, 5);

    let bigru: BiGru = BiGruConfig::new(3, 5, true)
        .with_initializer(Initializer::XavierNormal { gain: 1.0 })
        .with_batch_first(false)
        .init(&device);
    let state = Some(Tensor::zeros([2, 6, 5], &device));
    let (output, state): (Tensor<3>, Tensor<3>) = bigru.forward(input, state);
    shapes.extend([output.dims().to_vec(), state.dims().to_vec()]);
    assert_eq!(bigru.forward.d_hidden + bigru.reverse.d_hidden, 10);
    shapes
}
