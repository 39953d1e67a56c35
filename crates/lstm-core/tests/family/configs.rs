//! Configs of layers of any cell, as fields of a model's config.

use crate::random::uniform;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use lstm_core::{
    Bidirectional, BidirectionalConfig, Gate, GruCell, GruCellConfig, LstmCell, LstmCellConfig,
    LstmWithoutGate, LstmWithoutGateConfig, Recompute, Recurrent, RecurrentConfig,
    RecurrentDropout, RecurrentDropoutConfig, RecurrentStack, RecurrentStackConfig, Zoneout,
    ZoneoutConfig,
};

const I: usize = 3;
const H: usize = 4;

/// A user's config.
#[derive(Config, Debug)]
struct ModelConfig {
    encoder: RecurrentConfig<ZoneoutConfig<LstmCellConfig>>,
    stack: RecurrentStackConfig<RecurrentDropoutConfig<GruCellConfig>>,
    head: BidirectionalConfig<LstmWithoutGateConfig>,
    #[config(default = 10)]
    classes: usize,
}

/// What it makes.
#[derive(Module, Debug)]
struct Model {
    encoder: Recurrent<Zoneout<LstmCell>>,
    stack: RecurrentStack<RecurrentDropout<GruCell>>,
    head: Bidirectional<LstmWithoutGate>,
}

fn config() -> ModelConfig {
    let encoder = ZoneoutConfig::new(LstmCellConfig::new(I, H), vec![0.1, 0.4]);
    let stack = RecurrentDropoutConfig::new(GruCellConfig::new(H, 5), 0.25);
    let head = LstmWithoutGateConfig::new(LstmCellConfig::new(10, 2), Gate::Forget);
    ModelConfig::new(
        RecurrentConfig::new(encoder)
            .with_reverse(true)
            .with_truncation(Some(20))
            .with_recompute(Some(Recompute::Every(3))),
        RecurrentStackConfig::new(stack.with_mask_per_gate(true), 2)
            .with_bidirectional(true)
            .with_dropout(0.5)
            .with_recompute(Some(Recompute::SquareRoot)),
        BidirectionalConfig::new(head)
            .with_batch_first(false)
            .with_learned_state(true),
    )
}

impl ModelConfig {
    fn init(&self, device: &Device) -> Model {
        Model {
            encoder: self.encoder.init(device),
            stack: self.stack.init(device),
            head: self.head.init(device),
        }
    }
}

impl Model {
    fn forward(&self, input: Tensor<3>) -> TensorData {
        let (x, _) = self.encoder.forward(input, None);
        let (x, _) = self.stack.forward(x, None);
        let (x, _) = self.head.forward(x.swap_dims(0, 1), None);
        x.into_data()
    }
}

#[test]
fn a_models_config_makes_the_layers_also_after_a_round_trip_through_json() {
    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    config().save(&path).unwrap();
    let loaded = ModelConfig::load(&path).unwrap();

    // The same layers by hand.
    let gru = |d_input| {
        let cell = GruCellConfig::new(d_input, 5).init(&device);
        RecurrentDropout::new(cell, 0.25).with_mask_per_gate(true)
    };
    let lstm = || {
        let cell = LstmCellConfig::new(10, 2).init(&device);
        LstmWithoutGate::new(cell, Gate::Forget)
    };
    let cell = Zoneout::new(LstmCellConfig::new(I, H).init(&device), &[0.1, 0.4]);
    let encoder = Recurrent::new(cell).with_reverse(true);
    let cells = vec![gru(H), gru(H), gru(10), gru(10)];
    let stack = RecurrentStack::bidirectional(cells).with_dropout(0.5);
    let mut head = Bidirectional {
        batch_first: false,
        ..Bidirectional::new(lstm(), lstm())
    };
    head.forward = head.forward.with_learned_state(&device);
    head.reverse = head.reverse.with_learned_state(&device);
    let by_hand = Model {
        encoder,
        stack,
        head,
    };

    let input = uniform::<3>([2, 6, I], &device);
    let expected = by_hand.forward(input.clone());
    // With the same weights. (A seed is no use: other tests draw at the same time.)
    let model = loaded.init(&device).load_record(by_hand.into_record());
    assert_eq!(model.forward(input), expected);

    // The options that inference doesn't show.
    assert_eq!(model.encoder.truncation, Some(20));
    assert_eq!(model.encoder.recompute, Some(Recompute::Every(3)));
    assert_eq!(model.encoder.cell.keep[1].prob, 0.4);
    for layer in &model.stack.layers {
        assert_eq!(layer.recompute, Some(Recompute::SquareRoot));
        assert_eq!(layer.cell.dropout.prob, 0.25);
        assert!(layer.cell.mask_per_gate);
    }
    assert_eq!(model.stack.dropout.prob, 0.5);
    for direction in [&model.head.forward, &model.head.reverse] {
        assert_eq!(direction.initial_state.as_ref().unwrap().len(), 2);
    }
    assert_eq!(loaded.to_string(), config().to_string());
}

#[test]
fn options_that_a_file_lacks_are_at_their_defaults_and_a_cell_that_it_lacks_is_an_error() {
    type Encoder = RecurrentConfig<GruCellConfig>;
    let read = |json: &str| Encoder::load_binary(json.as_bytes());
    let found = read(r#"{"cell": {"d_input": 3, "d_hidden": 4}, "reverse": true}"#).unwrap();
    let expected = Encoder::new(GruCellConfig::new(3, 4)).with_reverse(true);
    assert_eq!(found.to_string(), expected.to_string());
    let error = read(r#"{"reverse": true}"#).unwrap_err().to_string();
    assert!(error.contains("missing field `cell`"), "{error}");
    let error = read(r#"{"cell": {"d_input": 3}}"#).unwrap_err().to_string();
    assert!(error.contains("missing field `d_hidden`"), "{error}");
}

#[test]
#[should_panic(expected = "num_layers must be at least 1")]
fn a_stack_without_layers_is_refused() {
    RecurrentStackConfig::new(GruCellConfig::new(I, H), 0).init(&Device::flex());
}

#[test]
fn the_prelude_has_what_a_model_needs() {
    use lstm_core::prelude::*;

    fn last<const D: usize, L: RecurrentLayer<D>>(layer: &L, input: Tensor<3>) -> L::State {
        layer
            .forward_with(input, None, &Default::default())
            .1
            .detach()
    }
    let device = Device::flex();
    let input = Tensor::<3>::ones([2, 6, I], &device);
    let state: LstmState<2> = last(&LstmConfig::new(I, H, true).init(&device), input.clone());
    assert_eq!(state.cell.dims(), [2, H]);
    let state = last(&GruStackConfig::new(I, H, 2, true).init(&device), input);
    assert_eq!(state.dims(), [2, 2, H]);
}
