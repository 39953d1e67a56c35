//! Weights and configs on disk, and how modules print.

use burn::config::Config;
use burn::module::Module;
use burn::nn::LstmState;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::store::{BurnpackStore, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Device, Distribution, Tensor};
use lstm_core::convert::load_burn_nn;
use lstm_core::{
    BiGruConfig, BiLstm, BiLstmConfig, BiRnnConfig, GruCellConfig, GruConfig,
    LayerNormLstmCellConfig, LstmCellConfig, LstmConfig, LstmStackConfig, LstmpCellConfig,
    PeepholeLstmCellConfig, Recompute, RnnCellConfig, RnnConfig, RnnStackConfig,
};
use serde_json::{Map, Value};

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

#[test]
fn configs_round_trip_through_json() {
    fn assert_round_trip<C: Config + ToString>(config: C) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        config.save(&path).unwrap();
        let loaded = C::load(&path).unwrap();
        assert_eq!(loaded.to_string(), config.to_string());
    }
    assert_round_trip(RnnCellConfig::new(2, 3).with_clip(Some(1.5)));
    assert_round_trip(
        LstmCellConfig::new(2, 3)
            .with_forget_bias(0.5)
            .with_chrono(Some(9)),
    );
    assert_round_trip(RnnConfig::new(2, 3, true).with_reverse(true));
    assert_round_trip(LstmConfig::new(2, 3, false).with_input_forget(true));
    assert_round_trip(RnnConfig::new(2, 3, true).with_recompute(Some(Recompute::SquareRoot)));
    assert_round_trip(LstmConfig::new(2, 3, true).with_recompute(Some(Recompute::Every(20))));
    assert_round_trip(BiRnnConfig::new(2, 3, true));
    assert_round_trip(BiLstmConfig::new(2, 3, true).with_batch_first(false));
    let lstm = LstmCellConfig::new(2, 3).with_input_forget(true);
    assert_round_trip(GruCellConfig::new(2, 3).with_reset_after(false));
    assert_round_trip(LstmpCellConfig::new(lstm.clone(), 2));
    assert_round_trip(PeepholeLstmCellConfig::new(lstm.clone()));
    assert_round_trip(LayerNormLstmCellConfig::new(lstm).with_epsilon(1e-3));
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
        // Without an option, as if it had been added since; what has no default is an error that names it.
        for option in written.keys() {
            let mut older = written.clone();
            older.remove(option);
            match load(&older) {
                Ok(read) => assert_eq!(load(read.as_object().unwrap()).unwrap(), read),
                Err(error) => {
                    assert!(
                        error
                            .to_string()
                            .contains(&format!("missing field `{option}`"))
                    );
                    assert!(
                        option.starts_with("d_")
                            || ["bias", "num_layers", "lstm"].contains(&option.as_str())
                    );
                }
            }
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
    fn check<B: Config, O: Config + ToString>(burns: B, ours: O) {
        let json = burn::config::config_to_json(&burns);
        let loaded = O::load_binary(json.as_bytes()).unwrap();
        assert_eq!(loaded.to_string(), ours.to_string());
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
            .with_hidden_activation(ActivationConfig::Relu),
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
    ];
    assert_eq!(
        printed,
        [
            "RnnCell {d_input: 2, d_hidden: 3, bias: true, params: 18}",
            "LstmCell {d_input: 2, d_hidden: 3, bias: false, params: 60}",
            "Rnn {d_input: 2, d_hidden: 3, bias: true, params: 18}",
            "Lstm {d_input: 2, d_hidden: 3, bias: true, params: 72}",
            "BiRnn {d_input: 2, d_hidden: 3, bias: true, params: 36}",
            "BiLstm {d_input: 2, d_hidden: 3, bias: true, params: 144}",
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
