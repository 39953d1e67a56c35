//! Weights and configs on disk, and how modules print.

use burn::config::Config;
use burn::module::Module;
use burn::nn::LstmState;
use burn::nn::activation::{ActivationConfig, PReluConfig};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::store::{BurnpackStore, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use lstm_core::convert::{Weights, load_burn_nn};
use lstm_core::{
    BiGruConfig, BiLstm, BiLstmConfig, BiRnnConfig, GruCellConfig, GruConfig, GruStackConfig,
    LayerNormLstmCellConfig, LstmCellConfig, LstmConfig, LstmStackConfig, LstmpCellConfig,
    Nonlinearity, PeepholeLstmCellConfig, Recompute, RnnCellConfig, RnnConfig, RnnStackConfig,
    SLstmCellConfig,
};
use serde_json::{Map, Value};
use std::fmt::Debug;

fn model(device: &Device) -> BiLstm {
    BiLstmConfig::new(3, 4, true).init(device)
}

fn outputs(model: &BiLstm, input: &Tensor<3>) -> Vec<f32> {
    let (output, state): (_, LstmState<3>) = model.forward(input.clone(), None);
    let tensors = [output, state.cell, state.hidden];
    let values = tensors
        .into_iter()
        .map(|t| t.into_data().iter::<f32>().collect());
    values.reduce(|a: Vec<f32>, b| [a, b].concat()).unwrap()
}

#[test]
fn weights_round_trip_through_burnpack_and_safetensors() {
    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let saved = model(&device);
    let input = Tensor::random([2, 5, 3], Distribution::Default, &device);

    let path = directory.path().join("model.bpk");
    saved
        .save_into(&mut BurnpackStore::from_file(&path))
        .unwrap();
    let mut loaded = model(&device);
    assert_ne!(outputs(&saved, &input), outputs(&loaded, &input));
    loaded
        .load_from(&mut BurnpackStore::from_file(&path))
        .unwrap();
    assert_eq!(outputs(&saved, &input), outputs(&loaded, &input));

    let path = directory.path().join("model.safetensors");
    saved
        .save_into(&mut SafetensorsStore::from_file(&path))
        .unwrap();
    let mut loaded = model(&device);
    loaded
        .load_from(&mut SafetensorsStore::from_file(&path))
        .unwrap();
    assert_eq!(outputs(&saved, &input), outputs(&loaded, &input));

    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "forward.cell.bias",
            "forward.cell.input_weight",
            "forward.cell.recurrent_weight",
            "reverse.cell.bias",
            "reverse.cell.input_weight",
            "reverse.cell.recurrent_weight",
        ]
    );
}

/// All options of the cells, none at its default; and so of their layers and stacks.
macro_rules! options {
    (rnn $config:expr) => {
        $config
            .with_input_initializer(Initializer::Zeros)
            .with_recurrent_initializer(Initializer::Ones)
            .with_clip(Some(1.5))
            .with_clip_sums(Some(2.5))
            .with_hidden_activation(Nonlinearity::Relu)
    };
    (gru $config:expr) => {
        options!(rnn $config)
            .with_reset_after(false)
            .with_gate_activation(hard_sigmoid())
    };
    (lstm $config:expr) => {
        options!(rnn $config)
            .with_forget_bias(0.5)
            .with_chrono(Some(9))
            .with_input_forget(true)
            .with_gate_activation(hard_sigmoid())
            .with_cell_activation(ActivationConfig::PRelu(PReluConfig::new()))
    };
    (layer $config:expr) => {
        $config
            .with_batch_first(false)
            .with_recompute(Some(Recompute::Every(20)))
    };
    (stack $config:expr) => {
        options!(layer $config)
            .with_bidirectional(true)
            .with_dropout(0.25)
    };
}

fn hard_sigmoid() -> Nonlinearity {
    Nonlinearity::HardSigmoid {
        alpha: 0.3.into(),
        beta: 0.4.into(),
    }
}

/// What is read back is compared as Rust prints it, not as JSON again.
#[test]
fn configs_round_trip_through_json() {
    fn check<C: Config + Debug>(defaults: C, config: C) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        config.save(&path).unwrap();
        let loaded = C::load(&path).unwrap();
        assert_eq!(format!("{loaded:?}"), format!("{config:?}"));
        // Each field is in the file, and no option is at its default.
        let [defaults, config] = [&defaults, &config].map(|config| {
            let json = serde_json::to_value(config).unwrap();
            json.as_object().unwrap().clone()
        });
        let printed = format!("{loaded:#?}");
        let lines = printed.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = lines.filter(|line| !line.starts_with([' ', '}', ')']));
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        assert_eq!(fields.len(), config.len(), "{printed}");
        for (field, _) in fields {
            let (value, default) = (&config[field], &defaults[field]);
            let required = field.starts_with("d_") || ["num_layers", "lstm"].contains(&field);
            assert!(required || value != default, "{field} is {default}");
        }
    }
    check(
        RnnCellConfig::new(2, 3),
        options!(rnn RnnCellConfig::new(2, 3)).with_bias(false),
    );
    check(
        GruCellConfig::new(2, 3),
        options!(gru GruCellConfig::new(2, 3)).with_bias(false),
    );
    let lstm = || LstmCellConfig::new(2, 3);
    let with_all = || options!(lstm lstm()).with_bias(false);
    check(lstm(), with_all());
    check(
        LstmpCellConfig::new(lstm(), 2),
        LstmpCellConfig::new(with_all(), 2).with_projection_initializer(Initializer::Ones),
    );
    check(
        PeepholeLstmCellConfig::new(lstm()),
        PeepholeLstmCellConfig::new(with_all()).with_peephole_initializer(Initializer::Ones),
    );
    check(
        LayerNormLstmCellConfig::new(lstm()),
        LayerNormLstmCellConfig::new(with_all()).with_epsilon(1e-3),
    );
    check(
        SLstmCellConfig::new(2, 3),
        SLstmCellConfig::new(2, 3)
            .with_bias(false)
            .with_forget_bias(0.5)
            .with_exponential_forget(true)
            .with_input_initializer(Initializer::Zeros)
            .with_recurrent_initializer(Initializer::Ones),
    );
    macro_rules! layers {
        ($cell:ident $layer:ident $both:ident $stack:ident) => {
            check(
                $layer::new(2, 3, true),
                options!(layer options!($cell $layer::new(2, 3, false))).with_reverse(true),
            );
            check(
                $both::new(2, 3, true),
                options!(layer options!($cell $both::new(2, 3, false))),
            );
            check(
                $stack::new(2, 3, 2, true),
                options!(stack options!($cell $stack::new(2, 3, 2, false))),
            );
        };
    }
    layers!(rnn RnnConfig BiRnnConfig RnnStackConfig);
    layers!(gru GruConfig BiGruConfig GruStackConfig);
    layers!(lstm LstmConfig BiLstmConfig LstmStackConfig);
}

/// Configs that version 0.1 wrote, with options that are not the defaults.
#[test]
fn configs_of_older_versions_load() {
    fn check<C: Config>(name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs");
        let path = format!("{folder}/{name}.json");
        let load = |json: &Map<String, Value>| {
            let json = serde_json::to_string(json).unwrap();
            let loaded = C::load_binary(json.as_bytes());
            loaded.map(|config| serde_json::to_value(config).unwrap())
        };
        let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let written = written.as_object().unwrap();
        let read = load(written).unwrap();
        for (option, value) in written {
            match value.as_object() {
                // A cell's config in another's may have options that are newer than the file.
                Some(value) => {
                    for (inner, value) in value {
                        assert_eq!(&read[option][inner], value, "{name}: {option}.{inner}");
                    }
                }
                None => assert_eq!(&read[option], value, "{name}: {option}"),
            }
        }
        // Without an option, as if it had been added since: it is at its default, and the others are as they were.
        // What has no default is an error that names it.
        let required =
            |option: &str| option.starts_with("d_") || ["num_layers", "lstm"].contains(&option);
        let is_cell = name.ends_with("_cell");
        let required = |option: &str| required(option) || option == "bias" && !is_cell;
        let mut bare = written.clone();
        bare.retain(|option, _| required(option));
        let defaults = load(&bare).unwrap();
        for option in written.keys() {
            let mut older = written.clone();
            older.remove(option);
            let loaded = load(&older);
            if required(option) {
                let error = loaded.unwrap_err().to_string();
                assert!(
                    error.contains(&format!("missing field `{option}`")),
                    "{error}"
                );
                continue;
            }
            let mut want = read.clone();
            want[option] = defaults[option].clone();
            assert_eq!(loaded.unwrap(), want, "{name} without {option}");
        }
    }
    check::<LstmCellConfig>("lstm_cell");
    check::<RnnCellConfig>("rnn_cell");
    check::<GruCellConfig>("gru_cell");
    check::<LstmpCellConfig>("lstmp_cell");
    check::<PeepholeLstmCellConfig>("peephole_lstm_cell");
    check::<LayerNormLstmCellConfig>("layer_norm_lstm_cell");
    check::<LstmConfig>("lstm");
    check::<BiLstmConfig>("bilstm");
    check::<LstmStackConfig>("lstm_stack");
    check::<RnnConfig>("rnn");
    check::<BiRnnConfig>("birnn");
    check::<RnnStackConfig>("rnn_stack");
    check::<GruConfig>("gru");
    check::<BiGruConfig>("bigru");
}

#[test]
fn configs_that_burn_nn_wrote_load() {
    fn check<B: Config, O: Config + Debug>(burns: B, ours: O) {
        let json = burn::config::config_to_json(&burns);
        let loaded = O::load_binary(json.as_bytes()).unwrap();
        assert_eq!(format!("{loaded:?}"), format!("{ours:?}"));
    }
    let normal = || Initializer::Normal {
        mean: 0.0,
        std: 0.1,
    };
    let xavier = || Initializer::XavierNormal { gain: 1.0 };
    check(
        burn::nn::LstmConfig::new(2, 3, true)
            .with_initializer(normal())
            .with_reverse(true)
            .with_clip(Some(2.0)),
        LstmConfig::new(2, 3, true)
            .with_initializer(normal())
            .with_reverse(true)
            .with_clip(Some(2.0)),
    );
    check(
        burn::nn::BiLstmConfig::new(2, 3, false)
            .with_batch_first(false)
            .with_input_forget(true),
        BiLstmConfig::new(2, 3, false)
            .with_initializer(xavier())
            .with_batch_first(false)
            .with_input_forget(true),
    );
    check(
        burn::nn::RnnConfig::new(2, 3, true).with_hidden_activation(ActivationConfig::Relu),
        RnnConfig::new(2, 3, true)
            .with_initializer(xavier())
            .with_hidden_activation(Nonlinearity::Relu),
    );
    check(
        burn::nn::BiRnnConfig::new(2, 3, true).with_initializer(normal()),
        BiRnnConfig::new(2, 3, true).with_initializer(normal()),
    );
    check(
        burn::nn::gru::GruConfig::new(2, 3, true).with_reset_after(false),
        GruConfig::new(2, 3, true)
            .with_initializer(xavier())
            .with_reset_after(false),
    );
    check(
        burn::nn::gru::BiGruConfig::new(2, 3, true).with_batch_first(false),
        BiGruConfig::new(2, 3, true)
            .with_initializer(xavier())
            .with_batch_first(false),
    );
}

/// The same model twice, with both libraries' layers.
macro_rules! model {
    ($name:ident, $lstm:ty, $bilstm:ty, $gru:ty, $rnn:ty) => {
        #[derive(Module, Debug)]
        struct $name {
            embed: Linear,
            layers: Vec<$lstm>,
            both: $bilstm,
            gru: $gru,
            older: $gru,
            rnn: Option<$rnn>,
        }

        impl $name {
            fn forward(&self, input: Tensor<3>) -> Tensor<3> {
                let mut x = self.embed.forward(input);
                for layer in &self.layers {
                    x = layer.forward(x, None).0;
                }
                x = self.both.forward(x, None).0;
                x = self.older.forward(self.gru.forward(x, None), None);
                self.rnn.as_ref().unwrap().forward(x, None).0
            }
        }
    };
}

model!(
    Burns,
    burn::nn::Lstm,
    burn::nn::BiLstm,
    burn::nn::gru::Gru,
    burn::nn::Rnn
);
model!(
    Ours,
    lstm_core::Lstm,
    BiLstm,
    lstm_core::Gru,
    lstm_core::Rnn
);

/// The layers of a model, from the configs of either library.
macro_rules! layers {
    ($model:ident, $device:expr, $($library:ident)::+, $($gru:ident)::+) => {
        $model {
            embed: LinearConfig::new(3, 4).init($device),
            layers: vec![
                $($library)::+::LstmConfig::new(4, 5, true).init($device),
                $($library)::+::LstmConfig::new(5, 4, false).with_input_forget(true).init($device),
            ],
            both: $($library)::+::BiLstmConfig::new(4, 3, true).init($device),
            gru: $($gru)::+::GruConfig::new(6, 5, true).init($device),
            older: $($gru)::+::GruConfig::new(5, 5, true).with_reset_after(false).init($device),
            rnn: Some($($library)::+::RnnConfig::new(5, 2, true).init($device)),
        }
    };
}

#[test]
fn a_model_with_burns_layers_loads_by_one_call() {
    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let burns = layers!(Burns, &device, burn::nn, burn::nn::gru);
    let ours = || layers!(Ours, &device, lstm_core, lstm_core);
    let input = Tensor::random([2, 6, 3], Distribution::Default, &device);
    let expected = burns.forward(input.clone());
    let check = |model: Ours| {
        let difference = (model.forward(input.clone()) - expected.clone())
            .abs()
            .max();
        assert!(difference.into_scalar::<f32>() < 1e-6);
    };

    let mut store = BurnpackStore::from_file(path("model.bpk"));
    burns.save_into(&mut store).unwrap();
    let mut model = ours();
    load_burn_nn(&mut model, &mut store).unwrap();
    check(model);

    let mut store = SafetensorsStore::from_file(path("model.safetensors"));
    burns.save_into(&mut store).unwrap();
    let mut model = ours();
    load_burn_nn(&mut model, &mut store).unwrap();
    check(model.clone());

    // One of this library's loads as well, and one that Burn itself saved.
    let mut store = BurnpackStore::from_file(path("ours.bpk"));
    model.save_into(&mut store).unwrap();
    let mut again = ours();
    load_burn_nn(&mut again, &mut store).unwrap();
    check(again);
    burns.clone().save_file(path("record.bpk")).unwrap();
    let mut store = BurnpackStore::from_file(path("record.bpk"));
    let mut again = ours();
    load_burn_nn(&mut again, &mut store).unwrap();
    check(again);

    // A layer alone, and one with an adapter.
    let mut store = BurnpackStore::from_file(path("layer.bpk"));
    burns.layers[0].save_into(&mut store).unwrap();
    let mut layer = LstmConfig::new(4, 5, true)
        .init(&device)
        .apply_lora(burn::module::Lora::new(2, 4.0));
    load_burn_nn(&mut layer, &mut store).unwrap();
    assert!(layer.cell.input_weight.adapter().is_some());
    let expected = lstm_core::Lstm::from(burns.layers[0].clone());
    let of = |layer: &lstm_core::Lstm| layer.cell.input_weight.base().into_data();
    assert_eq!(of(&layer), of(&expected));
}

#[test]
fn what_does_not_fit_a_model_is_named() {
    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let burns = burn::nn::LstmConfig::new(4, 5, true).init(&device);
    let mut store = BurnpackStore::from_file(directory.path().join("layer.bpk"));
    burns.save_into(&mut store).unwrap();
    let mut error = |config: LstmConfig| {
        let mut layer = config.init(&device);
        let before = layer.clone();
        let error = load_burn_nn(&mut layer, &mut store)
            .unwrap_err()
            .to_string();
        let of = |layer: lstm_core::Lstm| layer.cell.input_weight.into_value().into_data();
        assert_eq!(of(layer), of(before));
        error
    };
    assert_eq!(
        error(LstmConfig::new(4, 5, false)),
        "store: no place for tensor cell_gate.hidden_transform.bias, cell_gate.input_transform.bias, \
         forget_gate.hidden_transform.bias, forget_gate.input_transform.bias, input_gate.hidden_transform.bias, \
         input_gate.input_transform.bias, output_gate.hidden_transform.bias, output_gate.input_transform.bias: the \
         model has no such parameter"
    );
    assert_eq!(
        error(LstmConfig::new(3, 5, true)),
        "store: tensor cell.input_weight must be [3, 20], got [4, 20]"
    );
    assert_eq!(
        error(LstmConfig::new(4, 5, true).with_input_forget(true)),
        "store: tensor cell.input_weight must be [4, 15], got [4, 20]"
    );

    let burns = burn::nn::LstmConfig::new(4, 5, false).init(&device);
    let mut store = BurnpackStore::from_file(directory.path().join("no bias.bpk"));
    burns.save_into(&mut store).unwrap();
    let mut layer = LstmConfig::new(4, 5, true).init(&device);
    let error = load_burn_nn(&mut layer, &mut store)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("store: tensor cell.bias [20] is missing"),
        "{error}"
    );
}

/// Gates without rows, and a bias that would be added to the first unit alone.
#[test]
fn gates_that_do_not_fit_each_other_are_named() {
    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.safetensors");
    let burns = burn::nn::LstmConfig::new(4, 5, true).init(&device);
    burns
        .save_into(&mut SafetensorsStore::from_file(&path))
        .unwrap();
    let whole = Weights::read(&path).unwrap();
    for (name, shape, expected) in [
        (
            "input_gate.input_transform.weight",
            vec![0, 5],
            "input_gate.input_transform.weight can't be read: it has no values",
        ),
        (
            "forget_gate.hidden_transform.bias",
            vec![1],
            "forget_gate.hidden_transform.bias must be [5], got [1]",
        ),
        (
            "cell_gate.input_transform.weight",
            vec![5, 4],
            "cell_gate.input_transform.weight must be [4, 5], got [5, 4]",
        ),
    ] {
        let mut weights = whole.clone();
        let values = vec![0f32; shape.iter().product()];
        weights.insert(name, TensorData::new(values, shape));
        weights.write_safetensors(&path).unwrap();
        let mut layer = LstmConfig::new(4, 5, true).init(&device);
        let mut store = SafetensorsStore::from_file(&path);
        let error = load_burn_nn(&mut layer, &mut store)
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("store: tensor {expected}"));
    }
}

#[test]
fn modules_print_as_burns_do() {
    let device = Device::flex();
    let printed = [
        RnnCellConfig::new(2, 3).init(&device).to_string(),
        LstmCellConfig::new(2, 3)
            .with_bias(false)
            .init(&device)
            .to_string(),
        RnnConfig::new(2, 3, true).init(&device).to_string(),
        LstmConfig::new(2, 3, true).init(&device).to_string(),
        BiRnnConfig::new(2, 3, true).init(&device).to_string(),
        BiLstmConfig::new(2, 3, true).init(&device).to_string(),
        GruConfig::new(2, 3, false).init(&device).to_string(),
        BiGruConfig::new(2, 3, false).init(&device).to_string(),
    ];
    let burns = [
        burn::nn::gru::GruConfig::new(2, 3, false)
            .init(&device)
            .to_string(),
        burn::nn::gru::BiGruConfig::new(2, 3, false)
            .init(&device)
            .to_string(),
    ];
    assert_eq!(printed[6..], burns);
    assert_eq!(
        printed,
        [
            "RnnCell {d_input: 2, d_hidden: 3, bias: true, params: 18}",
            "LstmCell {d_input: 2, d_hidden: 3, bias: false, params: 60}",
            "Rnn {d_input: 2, d_hidden: 3, bias: true, params: 18}",
            "Lstm {d_input: 2, d_hidden: 3, bias: true, params: 72}",
            "BiRnn {d_input: 2, d_hidden: 3, bias: true, params: 36}",
            "BiLstm {d_input: 2, d_hidden: 3, bias: true, params: 144}",
            "Gru {d_input: 2, d_hidden: 3, bias: false, reset_after: true, params: 45}",
            "BiGru {d_input: 2, d_hidden: 3, bias: false, params: 90}",
        ]
    );
}

#[test]
fn a_layer_and_its_cell_share_their_weights() {
    let layer = LstmConfig::new(2, 3, true).init(&Device::flex());
    let id = layer.cell.input_weight.id;
    let cell = lstm_core::LstmCell::from(layer);
    assert_eq!(lstm_core::Lstm::from(cell).cell.input_weight.id, id);
}

#[test]
fn modules_go_to_training_and_back() {
    let device = Device::flex();
    let layer = LstmConfig::new(2, 3, true).init(&device);
    assert!(!layer.devices()[0].is_autodiff());
    let training = layer.clone().train();
    assert!(training.devices()[0].is_autodiff());
    assert_eq!(training.valid().num_params(), layer.num_params());
}
