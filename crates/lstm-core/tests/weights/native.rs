//! Layers of this library and of `burn::nn` in files of burn-store.

use super::{assert_same_module, device, message};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::TensorData;
use lstm_core::convert::{Direction, FoundLayer, LoadFound, Source, Weights};
use lstm_core::{
    BiGru, BiLstm, BiLstmConfig, GruCell, GruStack, GruStackConfig, LayerNormLstmCellConfig, Lstm,
    LstmCellConfig, LstmConfig, LstmStack, LstmStackConfig, LstmpCell, LstmpCellConfig,
    PeepholeLstmCell, PeepholeLstmCellConfig, Recurrent, RecurrentStack, Rnn, RnnConfig,
    SLstmCellConfig,
};

#[derive(Module, Debug)]
struct Model<A: Module, B: Module> {
    encoder: A,
    decoder: B,
}

/// What burn-store writes of a model.
fn saved<M: ModuleSnapshot>(model: &M) -> Weights {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    model
        .save_into(&mut SafetensorsStore::from_file(&path))
        .unwrap();
    Weights::read(path).unwrap()
}

fn check<L: LoadFound + Module>(
    weights: &Weights,
    name: &str,
    source: Source,
    layer: L,
) -> FoundLayer {
    let layers = weights.recurrent_layers();
    let found = layers.named(name).unwrap();
    assert_eq!(found.source, source, "{layers}");
    let loaded = found.load::<L>(weights, &device());
    assert_same_module(loaded.unwrap_or_else(|error| panic!("{error}")), layer);
    found.clone()
}

#[test]
fn own_layers_are_found() {
    let device = device();
    let lstm = || LstmCellConfig::new(3, 5);
    let encoder: BiLstm = BiLstmConfig::new(3, 5, true).init(&device);
    let stack = LstmStackConfig::new(10, 4, 3, false).with_bidirectional(true);
    let decoder: LstmStack = stack.init(&device);
    let model = Model {
        encoder: encoder.clone(),
        decoder: decoder.clone(),
    };
    let weights = saved(&model);
    assert_eq!(weights.recurrent_layers().len(), 2);
    check(&weights, "encoder", Source::LstmCore, encoder);
    let found = check(&weights, "decoder", Source::LstmCore, decoder);
    assert_eq!(
        (found.layers, found.direction, found.bias),
        (3, Direction::Bidirectional, false)
    );

    let peephole = PeepholeLstmCellConfig::new(lstm()).init(&device);
    let encoder: Recurrent<PeepholeLstmCell> = Recurrent::new(peephole);
    let projected = LstmpCellConfig::new(lstm(), 2).init(&device);
    let decoder: Recurrent<LstmpCell> = Recurrent::new(projected);
    let weights = saved(&Model {
        encoder: encoder.clone(),
        decoder: decoder.clone(),
    });
    check(&weights, "encoder", Source::LstmCore, encoder);
    check(&weights, "decoder", Source::LstmCore, decoder);

    let encoder: GruStack = GruStackConfig::new(3, 5, 2, true).init(&device);
    let decoder: Rnn = RnnConfig::new(5, 4, true).init(&device);
    let weights = saved(&Model {
        encoder: encoder.clone(),
        decoder: decoder.clone(),
    });
    check(&weights, "encoder", Source::LstmCore, encoder);
    check(&weights, "decoder", Source::LstmCore, decoder);
}

/// Where names and sizes don't tell, an error does.
#[test]
fn what_names_do_not_tell_is_refused() {
    let device = device();
    let coupled = LstmConfig::new(3, 5, true).with_input_forget(true);
    let alike = LstmStackConfig::new(4, 4, 2, true).init(&device);
    let weights = saved(&Model {
        encoder: coupled.init(&device),
        decoder: alike,
    });
    let layers = weights.recurrent_layers();
    let text = message(
        layers
            .named("encoder")
            .unwrap()
            .load::<Recurrent<GruCell>>(&weights, &device),
    );
    assert!(text.contains("an LSTM's with coupled gates"), "{text}");
    let text = message(
        layers
            .named("decoder")
            .unwrap()
            .load::<LstmStack>(&weights, &device),
    );
    assert!(text.contains("two cells alike"), "{text}");
}

/// What a layer would be without is not left out.
#[test]
fn states_that_begin_and_cells_that_are_missing_are_named() {
    let device = device();
    let lstm = |bias| LstmCellConfig::new(3, 5).with_bias(bias).init(&device);
    let unsupported = |weights: &Weights| {
        let layers = weights.recurrent_layers();
        let text = message(layers[0].load::<LstmStack>(weights, &device));
        assert!(text.contains(&layers[0].options.unsupported[0]), "{text}");
        text
    };
    let learned = Recurrent::new(lstm(true)).with_learned_state(&device);
    let text = unsupported(&saved(&learned));
    assert!(text.contains("a learned initial state"), "{text}");
    let mixed = RecurrentStack::bidirectional(vec![lstm(true), lstm(false)]);
    let text = unsupported(&saved(&mixed));
    assert!(text.contains("biases in some of its cells alone"), "{text}");
    let stack = LstmStackConfig::new(3, 5, 2, true).with_bidirectional(true);
    let mut weights = saved::<LstmStack>(&stack.init(&device));
    weights.retain(|name| !name.starts_with("layers.3."));
    let text = unsupported(&weights);
    assert!(text.contains("one direction on layers with two"), "{text}");
}

/// Theano's tutorials have Keras 1's names without its groups, and the output gate before the candidate.
#[test]
fn theanos_names_are_no_keras() {
    let mut weights = Weights::new();
    for (name, shape) in [
        ("lstm_W", vec![3, 20]),
        ("lstm_U", vec![5, 20]),
        ("lstm_b", vec![20]),
    ] {
        let values = vec![0.5f32; shape.iter().product()];
        weights.insert(name, TensorData::new(values, shape));
    }
    let layers = weights.recurrent_layers();
    let text = message(layers.only().unwrap().load::<Lstm>(&weights, &device()));
    assert!(
        text.contains("names as Theano's tutorials have them"),
        "{text}"
    );
}

/// What tensors don't tell is said; normalised cells have tensors that no layer here would be given.
#[test]
fn other_cells_with_an_lstms_tensors_are_told_apart_or_named() {
    let device = device();
    let slstm = SLstmCellConfig::new(3, 5).init(&device);
    let normed = LayerNormLstmCellConfig::new(LstmCellConfig::new(3, 5)).init(&device);
    let weights = saved(&Model {
        encoder: Recurrent::new(slstm),
        decoder: Recurrent::new(normed),
    });
    let layers = weights.recurrent_layers();
    let unstated = layers.named("encoder").unwrap().options.unstated.clone();
    assert!(unstated.unwrap().contains("an sLSTM's tensors are alike"));
    let normed = layers
        .iter()
        .find(|layer| layer.name.starts_with("decoder"));
    let text = message(normed.unwrap().load::<Lstm>(&weights, &device));
    assert!(text.contains("layer normalisation"), "{text}");
}

#[test]
fn layers_of_burn_nn_are_found() {
    let device = device();
    let encoder = burn::nn::LstmConfig::new(3, 5, true).init(&device);
    let decoder = burn::nn::BiGruConfig::new(5, 4, true).init(&device);
    let weights = saved(&Model {
        encoder: encoder.clone(),
        decoder: decoder.clone(),
    });
    check(&weights, "encoder", Source::BurnNn, Lstm::from(encoder));
    check(&weights, "decoder", Source::BurnNn, BiGru::from(decoder));
    let coupled = burn::nn::LstmConfig::new(3, 5, true).with_input_forget(true);
    let coupled = coupled.init(&device);
    let found = check(&saved(&coupled), "", Source::BurnNn, Lstm::from(coupled));
    assert!(found.coupled);
    let rnn = burn::nn::RnnConfig::new(3, 5, false).init(&device);
    check(&saved(&rnn), "", Source::BurnNn, Rnn::from(rnn));
}
