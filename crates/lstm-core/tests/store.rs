//! Weights and configs on disk, and how modules print.

use burn::config::Config;
use burn::module::Module;
use burn::nn::LstmState;
use burn::store::{BurnpackStore, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Device, Distribution, Tensor};
use lstm_core::{
    BiLstm, BiLstmConfig, BiRnnConfig, GruCellConfig, LayerNormLstmCellConfig, LstmCellConfig,
    LstmConfig, LstmpCellConfig, PeepholeLstmCellConfig, Recompute, RnnCellConfig, RnnConfig,
};

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

/// A config that was written before there was the option.
#[test]
fn configs_without_recompute_load() {
    let config = LstmConfig::new(2, 3, true).with_recompute(Some(Recompute::SquareRoot));
    let mut json: serde_json::Value = serde_json::from_str(&config.to_string()).unwrap();
    let removed = json.as_object_mut().unwrap().remove("recompute");
    assert_eq!(removed, Some("SquareRoot".into()));
    let loaded = LstmConfig::load_binary(json.to_string().as_bytes()).unwrap();
    assert_eq!(loaded.recompute, None);
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
