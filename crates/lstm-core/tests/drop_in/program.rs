// A user's program, compiled twice by drop_in.rs: with `burn::nn`'s recurrent layers and with ours in
// scope as `Lstm`, `LstmConfig`, ... Nothing in it may know which.

use super::layers::*;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::{ActivationConfig, HardSigmoidConfig};
use burn::nn::{Initializer, Linear, LinearConfig, LstmState, RnnState};
use burn::tensor::{Device, Distribution, Tensor, s};

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

/// Layers of each kind: with the defaults, with each option by itself, and with all of them.
#[derive(Module, Debug)]
pub struct Layers {
    lstms: Vec<Lstm>,
    bilstms: Vec<BiLstm>,
    rnns: Vec<Rnn>,
    birnns: Vec<BiRnn>,
    grus: Vec<Gru>,
    bigrus: Vec<BiGru>,
    /// Those whose reset gate works before the recurrent product.
    reset_first: Vec<Gru>,
    bireset_first: Vec<BiGru>,
}

/// A config with no option, with each, and with all.
macro_rules! each {
    ($config:ident: $($option:ident $value:expr),*) => {
        [
            $config::new(3, 5, true),
            $config::new(3, 5, false),
            $($config::new(3, 5, true).$option($value),)*
            $config::new(3, 5, true)$(.$option($value))*,
        ]
    };
}

impl Layers {
    pub fn init(device: &Device) -> Self {
        let gates = || ActivationConfig::HardSigmoid(HardSigmoidConfig::new());
        let lstms = each!(
            LstmConfig: with_batch_first false, with_reverse true, with_clip Some(0.3), with_input_forget true,
            with_gate_activation gates(), with_cell_activation ActivationConfig::Relu,
            with_hidden_activation ActivationConfig::Sigmoid
        );
        let bilstms = each!(
            BiLstmConfig: with_batch_first false, with_clip Some(0.3), with_input_forget true,
            with_gate_activation gates(), with_cell_activation ActivationConfig::Relu,
            with_hidden_activation ActivationConfig::Sigmoid
        );
        let rnns = each!(
            RnnConfig: with_batch_first false, with_reverse true, with_clip Some(0.3),
            with_hidden_activation ActivationConfig::Sigmoid
        );
        let birnns = each!(
            BiRnnConfig: with_batch_first false, with_clip Some(0.3),
            with_hidden_activation ActivationConfig::Sigmoid
        );
        let grus = || {
            each!(
                GruConfig: with_clip Some(0.3), with_gate_activation gates(),
                with_hidden_activation ActivationConfig::Sigmoid
            )
        };
        let bigrus = || {
            each!(
                BiGruConfig: with_batch_first false, with_clip Some(0.3), with_gate_activation gates(),
                with_hidden_activation ActivationConfig::Sigmoid
            )
        };
        let first = grus().map(|config| config.with_reset_after(false));
        let bifirst = bigrus().map(|config| config.with_reset_after(false));
        Self {
            lstms: lstms.map(|config| config.init(device)).into(),
            bilstms: bilstms.map(|config| config.init(device)).into(),
            rnns: rnns.map(|config| config.init(device)).into(),
            birnns: birnns.map(|config| config.init(device)).into(),
            grus: grus().map(|config| config.init(device)).into(),
            bigrus: bigrus().map(|config| config.init(device)).into(),
            reset_first: first.map(|config| config.init(device)).into(),
            bireset_first: bifirst.map(|config| config.init(device)).into(),
        }
    }

    /// Outputs and last states of all layers, `input` being `[B, T, 3]` or `[T, B, 3]`, as each takes it, and the first
    /// states cut from `hidden` and `cell`, `[2, _, 5]`.
    pub fn run(&self, input: &Tensor<3>, hidden: &Tensor<3>, cell: &Tensor<3>) -> Vec<Tensor<3>> {
        let rows = |states: &Tensor<3>, batch_first: bool| {
            let batch = input.dims()[usize::from(!batch_first)];
            states.clone().slice(s![.., 0..batch, ..])
        };
        let one = |states: &Tensor<3>, batch_first: bool| -> Tensor<2> {
            rows(states, batch_first).slice(s![0..1, .., ..]).squeeze_dim(0)
        };
        let x = || input.clone();
        let mut results = vec![];
        for lstm in &self.lstms {
            let [h, c] = [hidden, cell].map(|states| one(states, lstm.batch_first));
            let (y, state) = lstm.forward(x(), Some(LstmState::new(c, h)));
            results.extend([y, state.cell.unsqueeze(), state.hidden.unsqueeze()]);
            results.push(lstm.forward(x(), None).0);
        }
        for lstm in &self.bilstms {
            let [h, c] = [hidden, cell].map(|states| rows(states, lstm.batch_first));
            let (y, state) = lstm.forward(x(), Some(LstmState::new(c, h)));
            results.extend([y, state.cell, state.hidden]);
        }
        for rnn in &self.rnns {
            let h = one(hidden, rnn.batch_first);
            let (y, state) = rnn.forward(x(), Some(RnnState::new(h)));
            results.extend([y, state.hidden.unsqueeze()]);
        }
        for rnn in &self.birnns {
            let h = rows(hidden, rnn.batch_first);
            let (y, state) = rnn.forward(x(), Some(RnnState::new(h)));
            results.extend([y, state.hidden]);
        }
        for gru in self.grus.iter().chain(&self.reset_first) {
            results.push(gru.forward(x(), Some(one(hidden, true))));
        }
        for gru in self.bigrus.iter().chain(&self.bireset_first) {
            let (y, state) = gru.forward(x(), Some(rows(hidden, gru.batch_first)));
            results.extend([y, state]);
        }
        results
    }
}

/// A training step, a record, and layers on each other; returns all shapes that came out.
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
