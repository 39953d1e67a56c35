//! Weights of the rest of the family, and of stacks of ONNX nodes, that PyTorch, Keras and ONNX Runtime wrote
//! and ran (see generate_family.py): GRUs in both forms, LSTMs with a projection and with peepholes.

use super::random::normal;
use super::{
    H, I, assert_near, assert_same_module, device, message, names, open, stored, to_lengths,
    written,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::HardSigmoidConfig;
use burn::nn::activation::ActivationConfig;
use burn::tensor::{Tensor, TensorData};
use lstm_core::convert::{Keras, Onnx, OnnxNames, PyTorch, WeightError, Weights};
use lstm_core::{
    BiGruConfig, Cell, Gate, GateWeights, GruCell, GruCellConfig, Lstm, LstmCellConfig, LstmConfig,
    LstmStackConfig, LstmpCell, LstmpCellConfig, Mask, Padding, PeepholeLstmCell,
    PeepholeLstmCellConfig, Recurrent, RecurrentStack, RecurrentState, RnnConfig, RnnStackConfig,
    StackedState,
};

/// Features of the projection.
const P: usize = 3;

fn expected<const D: usize>(case: &str, tensor: &str) -> Tensor<D> {
    let data = stored("expected_family.safetensors", &format!("{case}/{tensor}"));
    Tensor::from_data(data, &device())
}

fn lengths(case: &str) -> Mask {
    to_lengths(expected(case, "lengths"))
}

fn assert_close<const D: usize>(case: &str, what: &str, got: Tensor<D>) {
    assert_near(&format!("{case}/{what}"), got, expected(case, what));
}

/// The tensors of a state: `h`, and `c` if there is one, `[L·D, B, ·]`.
pub fn tensors<const D: usize>(state: &impl RecurrentState<D>) -> Vec<(&'static str, Tensor<3>)> {
    let tensors = state.tensors().into_iter().map(Tensor::unsqueeze);
    ["h", "c"].into_iter().zip(tensors).collect()
}

fn check<const D: usize>(case: &str, (y, state): (Tensor<3>, impl RecurrentState<D>)) {
    assert_close(case, "y", y);
    for (letter, state) in tensors(&state) {
        assert_close(case, letter, state);
    }
}

fn check_layer<C: Cell>(case: &str, layer: &Recurrent<C>, lengths: Option<Mask>) {
    let x = expected(case, "x");
    let (y, state) = match lengths {
        Some(lengths) => layer.forward_with_lengths(x, None, lengths),
        None => layer.forward(x, None),
    };
    check(case, (y, state));
}

fn check_stack<C: Cell<State: StackedState>>(case: &str, stack: &RecurrentStack<C>) {
    let x = expected(case, "x");
    check(case, stack.forward_with_lengths(x, None, lengths(case)));
}

/// The module with other numbers, biases too, in all its parameters.
pub fn random<M: Module>(module: M) -> M {
    struct Random;
    impl ModuleMapper for Random {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| normal(old.dims(), &old.device()))
        }
    }
    module.map(&mut Random)
}

/// Layers of cells, each made for its number of input features, that give `d_output` of them.
pub fn stack<C: Cell>(
    [d_input, d_output, layers]: [usize; 3],
    bidirectional: bool,
    cell: impl Fn(usize) -> C,
) -> RecurrentStack<C> {
    let directions = 1 + usize::from(bidirectional);
    let cells = (0..layers * directions).map(|k| match k < directions {
        true => cell(d_input),
        false => cell(directions * d_output),
    });
    let cells = cells.collect();
    random(match bidirectional {
        true => RecurrentStack::bidirectional(cells),
        false => RecurrentStack::new(cells),
    })
}

pub fn gru_cell(config: GruCellConfig) -> GruCell {
    random(config.init(&device()))
}

pub fn gru() -> GruCell {
    gru_cell(GruCellConfig::new(I, H))
}

fn gru_before() -> GruCell {
    gru_cell(GruCellConfig::new(I, H).with_reset_after(false))
}

pub fn gru_stack(layers: usize, bidirectional: bool, reset_after: bool) -> RecurrentStack<GruCell> {
    stack([I, H, layers], bidirectional, |d_input| {
        gru_cell(GruCellConfig::new(d_input, H).with_reset_after(reset_after))
    })
}

pub fn lstmp_stack(layers: usize, bidirectional: bool) -> RecurrentStack<LstmpCell> {
    stack([I, P, layers], bidirectional, |d_input| {
        LstmpCellConfig::new(LstmCellConfig::new(d_input, H), P).init(&device())
    })
}

pub fn peephole() -> PeepholeLstmCell {
    let config = PeepholeLstmCellConfig::new(LstmCellConfig::new(I, H));
    random(config.init(&device()))
}

fn peephole_stack(bidirectional: bool) -> RecurrentStack<PeepholeLstmCell> {
    stack([I, H, 1], bidirectional, |_| peephole())
}

/// Stacks on rows of different lengths, and the same numbers after a way there and back.
#[test]
fn outputs_are_pytorchs() {
    let weights = open("torch_gru.safetensors");
    let stack = gru_stack(2, true, true);
    let stack = stack.with_pytorch(&weights, &names("rnn")).unwrap();
    check_stack("torch_gru", &stack);
    let back = written(|w| stack.to_pytorch(w, &names("encoder")));
    let other = gru_stack(2, true, true);
    assert_same_module(stack, other.with_pytorch(&back, &names("encoder")).unwrap());

    let weights = open("torch_lstmp.safetensors");
    let stack = lstmp_stack(2, true);
    let stack = stack.with_pytorch(&weights, &names("rnn")).unwrap();
    check_stack("torch_lstmp", &stack);
    let back = written(|w| stack.to_pytorch(w, &names("encoder")));
    let other = lstmp_stack(2, true);
    assert_same_module(stack, other.with_pytorch(&back, &names("encoder")).unwrap());
}

/// PyTorch's own tensors are written again, but for the second bias: its reset and update gates' are added to
/// the first, and the candidate's stays where it is.
#[test]
fn pytorchs_tensors_come_back() {
    let name = "torch_gru.safetensors";
    let gru = gru_stack(2, true, true)
        .with_pytorch(&open(name), &names("rnn"))
        .unwrap();
    let back = written(|w| gru.to_pytorch(w, &names("rnn")));
    assert_eq!(back.names().count(), 2 * 2 * 4);
    let numbers = |data: TensorData| data.iter::<f32>().collect::<Vec<_>>();
    let ours = |tensor: String| numbers(back.tensor(&tensor).unwrap());
    let theirs = |tensor: String| numbers(stored(name, &tensor));
    for layer in [0, 1] {
        let forward = names("rnn").layer(layer);
        for names in [forward.clone(), forward.reverse()] {
            for matrix in [names.input_weight(), names.recurrent_weight()] {
                assert_eq!(ours(matrix.clone()), theirs(matrix));
            }
            let mut first = theirs(names.input_bias());
            let mut second = theirs(names.recurrent_bias());
            for (a, b) in first.iter_mut().zip(&mut second).take(2 * H) {
                (*a, *b) = (*a + *b, 0.0);
            }
            assert_eq!(ours(names.input_bias()), first);
            assert_eq!(ours(names.recurrent_bias()), second);
        }
    }

    let name = "torch_lstmp.safetensors";
    let lstmp = lstmp_stack(2, true)
        .with_pytorch(&open(name), &names("rnn"))
        .unwrap();
    let back = written(|w| lstmp.to_pytorch(w, &names("rnn")));
    assert_eq!(back.names().count(), 2 * 2 * 5);
    for matrix in back.names().filter(|name| name.contains("weight")) {
        assert_eq!(back.tensor(matrix).unwrap(), stored(name, matrix));
    }
}

/// In padded steps Keras repeats the output, except in `Bidirectional`, where it is zero.
#[test]
fn outputs_are_keras() {
    let weights = open("keras_gru.safetensors");
    let no_bias = gru_cell(GruCellConfig::new(I, H).with_bias(false));
    for (case, path, cell) in [
        ("keras_gru", "layers/gru", gru()),
        ("keras_gru_before", "layers/gru_1", gru_before()),
        ("keras_gru_no_bias", "layers/gru_2", no_bias),
    ] {
        let layer = Recurrent::new(cell).with_keras(&weights, path).unwrap();
        let lengths = lengths(case).with_padding(Padding::RepeatLast);
        check_layer(case, &layer, Some(lengths));
        let back = written(|w| layer.to_keras(w, path));
        let other = Recurrent::new(random(layer.cell.clone()));
        assert_same_module(layer, other.with_keras(&back, path).unwrap());
    }
    let path = "layers/bidirectional";
    let stack = gru_stack(2, true, true).with_keras(&weights, path).unwrap();
    check_stack("keras_gru_stack", &stack);
    let back = written(|w| stack.to_keras(w, path));
    assert_eq!(back.names().count(), 2 * 2 * 3);
    for name in back.names().filter(|name| !name.ends_with("vars/2")) {
        let theirs = stored("keras_gru.safetensors", name);
        assert_eq!(back.tensor(name).unwrap(), theirs, "{name}");
    }
    let other = gru_stack(2, true, true).with_keras(&back, path);
    assert_same_module(stack, other.unwrap());
}

pub fn onnx_names(node: &str) -> OnnxNames {
    OnnxNames {
        input_weight: format!("{node}/W"),
        recurrent_weight: format!("{node}/R"),
        bias: Some(format!("{node}/B")),
        peepholes: Some(format!("{node}/P")),
    }
}

#[test]
fn outputs_are_onnx_runtimes() {
    fn direction<C: Cell>(case: &str, cell: C)
    where
        Recurrent<C>: Onnx<Names = OnnxNames>,
    {
        let layer = Recurrent::new(cell).with_reverse(case.ends_with("reverse"));
        let weights = open("onnx_family.safetensors");
        let layer = layer.with_onnx(&weights, &onnx_names(case)).unwrap();
        check_layer(case, &layer, None);
        assert_written(case, |w| layer.to_onnx(w, &onnx_names(case)));
    }
    fn both<C: Cell<State: StackedState>>(case: &str, stack: RecurrentStack<C>)
    where
        RecurrentStack<C>: Onnx<Names = [OnnxNames]>,
    {
        let weights = open("onnx_family.safetensors");
        let stack = stack.with_onnx(&weights, &[onnx_names(case)]).unwrap();
        check_stack(case, &stack);
        assert_written(case, |w| stack.to_onnx(w, &[onnx_names(case)]));
    }
    direction("onnx_gru_after_forward", gru());
    direction("onnx_gru_after_reverse", gru());
    direction("onnx_gru_before_forward", gru_before());
    direction("onnx_peephole_forward", peephole());
    direction("onnx_peephole_reverse", peephole());
    both("onnx_gru_after_bidirectional", gru_stack(1, true, true));
    both("onnx_gru_before_bidirectional", gru_stack(1, true, false));
    both("onnx_peephole_bidirectional", peephole_stack(true));
}

/// What is written of a node is what ONNX Runtime was given, but for the biases, which are added.
fn assert_written(node: &str, write: impl FnOnce(&mut Weights) -> Result<(), WeightError>) {
    let given = open("onnx_family.safetensors");
    let back = written(write);
    let of_node = given
        .names()
        .filter(|name| name.starts_with(&format!("{node}/")));
    assert!(back.names().eq(of_node), "{node}: {back:?}");
    for name in back.names() {
        assert_eq!(back.shape(name), given.shape(name), "{name}");
        if !name.ends_with("/B") {
            let theirs = stored("onnx_family.safetensors", name);
            assert_eq!(back.tensor(name).unwrap(), theirs, "{name}");
        }
    }
}

/// One node for each layer.
#[test]
fn outputs_of_stacks_are_onnx_runtimes() {
    let weights = open("onnx_family.safetensors");
    let nodes = |case: &str| [0, 1].map(|layer| onnx_names(&format!("{case}/{layer}")));

    let case = "onnx_lstm_stack";
    let config = LstmStackConfig::new(I, H, 2, true).with_bidirectional(true);
    let stack = config.init(&device());
    let stack = stack.with_onnx(&weights, &nodes(case)).unwrap();
    let (y, state) = stack.forward_with_lengths(expected(case, "x"), None, lengths(case));
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
    assert_close(case, "c", state.cell);
    assert_written(case, |w| stack.to_onnx(w, &nodes(case)));

    let case = "onnx_rnn_stack";
    let stack = RnnStackConfig::new(I, H, 2, true).init(&device());
    let stack = stack.with_onnx(&weights, &nodes(case)).unwrap();
    let (y, state) = stack.forward_with_lengths(expected(case, "x"), None, lengths(case));
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
    assert_written(case, |w| stack.to_onnx(w, &nodes(case)));

    let case = "onnx_gru_stack";
    let stack = gru_stack(2, true, true);
    let stack = stack.with_onnx(&weights, &nodes(case)).unwrap();
    check_stack(case, &stack);
    assert_written(case, |w| stack.to_onnx(w, &nodes(case)));
}

/// Attributes of a node that are options of the layer here.
#[test]
fn options_are_onnx_runtimes() {
    let weights = open("onnx_family.safetensors");
    let names = |case: &str| OnnxNames {
        peepholes: None,
        ..onnx_names(case)
    };
    let check = |case: &str, lstm: Lstm| {
        let (y, state) = lstm.forward(expected(case, "x"), None);
        assert_close(case, "y", y);
        assert_close(case, "h", state.hidden.unsqueeze::<3>());
        assert_close(case, "c", state.cell.unsqueeze::<3>());
    };
    let config = LstmConfig::new(I, H, true);

    let case = "onnx_lstm_activations";
    let hard = ActivationConfig::HardSigmoid(HardSigmoidConfig::new());
    let lstm = config.clone().with_gate_activation(hard);
    let lstm = lstm
        .with_cell_activation(ActivationConfig::Relu)
        .init(&device());
    check(case, lstm.with_onnx(&weights, &names(case)).unwrap());

    // The node has a forget gate, which counts for nothing.
    let case = "onnx_lstm_coupled";
    let four = config.init(&device());
    let four = four.with_onnx(&weights, &names(case)).unwrap().cell;
    let mut coupled = config.with_input_forget(true).init(&device());
    let gates = [Gate::Input, Gate::Cell, Gate::Output].map(|gate| four.gate(gate));
    let of = |weight: fn(&GateWeights) -> Tensor<2>| {
        Param::from_tensor(Tensor::cat(gates.iter().map(weight).collect(), 1))
    };
    coupled.cell.input_weight = of(|gate| gate.input_weight.clone());
    coupled.cell.recurrent_weight = of(|gate| gate.recurrent_weight.clone());
    let bias = gates.iter().map(|gate| gate.bias.clone().unwrap());
    coupled.cell.bias = Some(Param::from_tensor(Tensor::cat(bias.collect(), 0)));
    check(case, coupled);

    let case = "onnx_rnn_relu";
    let relu = RnnConfig::new(I, H, true).with_hidden_activation(ActivationConfig::Relu);
    let rnn = relu.init(&device());
    let rnn = rnn.with_onnx(&weights, &names(case)).unwrap();
    let (y, state) = rnn.forward(expected(case, "x"), None);
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden.unsqueeze::<3>());
}

/// Random numbers, in all formats that have a place for the cell.
#[test]
fn layers_come_back_bit_for_bit() {
    fn pytorch<M: PyTorch + Module>(module: M) {
        let back = written(|w| module.to_pytorch(w, &names("rnn")));
        let other = random(module.clone());
        assert_same_module(module, other.with_pytorch(&back, &names("rnn")).unwrap());
    }
    fn keras<M: Keras + Module>(module: M) {
        let back = written(|w| module.to_keras(w, "layers/gru"));
        let other = random(module.clone());
        assert_same_module(module, other.with_keras(&back, "layers/gru").unwrap());
    }
    fn onnx<M: Onnx + Module>(module: M, names: &M::Names) {
        let back = written(|w| module.to_onnx(w, names));
        let other = random(module.clone());
        assert_same_module(module, other.with_onnx(&back, names).unwrap());
    }
    let nodes = ["a", "b", "c"].map(onnx_names);
    let no_bias = gru_cell(GruCellConfig::new(I, H).with_bias(false));
    let lstm_cell = || random(LstmCellConfig::new(I, H).init(&device()));
    for bidirectional in [false, true] {
        pytorch(gru_stack(3, bidirectional, true));
        pytorch(lstmp_stack(3, bidirectional));
        keras(gru_stack(3, bidirectional, true));
        keras(gru_stack(3, bidirectional, false));
        onnx(gru_stack(3, bidirectional, true), &nodes);
        onnx(gru_stack(3, bidirectional, false), &nodes);
        onnx(peephole_stack(bidirectional), &nodes[..1]);
        let lstms = LstmStackConfig::new(I, H, 3, true).with_bidirectional(bidirectional);
        onnx(random(lstms.init(&device())), &nodes);
    }
    pytorch(Recurrent::new(no_bias.clone()));
    keras(Recurrent::new(no_bias.clone()));
    onnx(Recurrent::new(no_bias), &nodes[0]);
    pytorch(gru());
    for cell in [gru(), gru_before()] {
        assert_same_module(cell.clone(), burn::nn::Gru::from(cell).into());
    }
    let both = random(BiGruConfig::new(I, H, true).init(&device()));
    assert_same_module(both.clone(), burn::nn::BiGru::from(both).into());
    pytorch(Recurrent::new(lstm_cell()));
    keras(stack([I, H, 1], false, |_| lstm_cell()));
    onnx(Recurrent::new(lstm_cell()), &nodes[0]);
    onnx(Recurrent::new(peephole()), &nodes[0]);
}

#[test]
fn errors_name_tensor_expected_and_got() {
    let layer = || Recurrent::new(gru());
    let mut weights = Weights::new();
    layer().to_pytorch(&mut weights, &names("rnn")).unwrap();
    let load = |weights: &Weights| message(layer().with_pytorch(weights, &names("rnn")));

    let mut projected = weights.clone();
    projected.insert("rnn.weight_hr_l0", TensorData::zeros::<f32, _>([P, H]));
    let text = load(&projected);
    assert!(
        text.ends_with("no place for tensor rnn.weight_hr_l0: the layer has no projection"),
        "{text}"
    );
    let mut misshapen = weights.clone();
    misshapen.insert("rnn.bias_hh_l0", TensorData::zeros::<f32, _>([4 * H]));
    let text = load(&misshapen);
    assert!(
        text.ends_with("rnn.bias_hh_l0 must be [15], got [20]"),
        "{text}"
    );
    let mut mistyped = weights.clone();
    mistyped.insert("rnn.weight_hh_l0", TensorData::zeros::<i64, _>([3 * H, H]));
    let text = load(&mistyped);
    assert!(text.contains("rnn.weight_hh_l0 must be F32"), "{text}");
    assert!(text.ends_with("got I64"), "{text}");
    let text = message(layer().with_pytorch(&weights, &names("decoder")));
    assert!(
        text.contains("decoder.weight_ih_l0 [15, 4] is missing"),
        "{text}"
    );
    let text =
        message(lstmp_stack(1, false).with_pytorch(&open("torch_gru.safetensors"), &names("rnn")));
    assert!(
        text.contains("rnn.weight_hr_l0 [3, 5] is missing"),
        "{text}"
    );
    let text = message(
        gru_stack(3, true, true).with_pytorch(&open("torch_gru.safetensors"), &names("rnn")),
    );
    assert!(
        text.contains("rnn.weight_ih_l2 [15, 10] is missing"),
        "{text}"
    );
    let mut unprojected = Weights::new();
    let lstm = LstmConfig::new(I, H, true).init(&device());
    lstm.to_pytorch(&mut unprojected, &names("")).unwrap();
    let text = message(lstmp_stack(1, false).with_pytorch(&unprojected, &names("")));
    assert!(text.contains("weight_hr_l0 [3, 5] is missing"), "{text}");
    let (mut whole, mut without) = (Weights::new(), Weights::new());
    let lstmp = lstmp_stack(1, false);
    lstmp.to_pytorch(&mut whole, &names("")).unwrap();
    for name in whole.names().filter(|name| !name.contains("weight_hr")) {
        without.insert(name, whole.tensor(name).unwrap());
    }
    let text = message(lstmp.with_pytorch(&without, &names("")));
    assert!(text.contains("weight_hr_l0 [3, 5] is missing"), "{text}");

    let keras = open("keras_gru.safetensors");
    let text = message(layer().with_keras(&keras, "layers/gru_1"));
    assert!(
        text.ends_with("layers/gru_1/cell/vars/2 must be [2, 15], got [15]"),
        "{text}"
    );
    let text = message(Recurrent::new(gru_before()).with_keras(&keras, "layers/gru"));
    assert!(
        text.ends_with("layers/gru/cell/vars/2 must be [15], got [2, 15]"),
        "{text}"
    );
    let text = message(layer().with_keras(&keras, "layers/gru_2"));
    assert!(
        text.contains("layers/gru_2/cell/vars/2 [2, 15] is missing"),
        "{text}"
    );
    let text = message(gru_stack(3, true, true).with_keras(&keras, "layers/bidirectional"));
    let missing = "layers/bidirectional_2/forward_layer/cell/vars/0 [10, 15] is missing";
    assert!(text.contains(missing), "{text}");
}

#[test]
fn errors_of_onnx_name_tensor_expected_and_got() {
    let weights = open("onnx_family.safetensors");
    let case = "onnx_peephole_forward";
    let lstm = LstmConfig::new(I, H, true).init(&device());
    let text = message(lstm.with_onnx(&weights, &onnx_names(case)));
    let reason = "onnx_peephole_forward/P: the layer has no peepholes";
    assert!(text.ends_with(reason), "{text}");
    let gru_node = onnx_names("onnx_gru_after_forward");
    let text = message(Recurrent::new(peephole()).with_onnx(&weights, &gru_node));
    assert!(
        text.ends_with("onnx_gru_after_forward/W must be [1, 20, 4], got [1, 15, 4]"),
        "{text}"
    );
    let node = OnnxNames {
        peepholes: Some("p".to_string()),
        ..onnx_names(case)
    };
    let text = message(Recurrent::new(peephole()).with_onnx(&weights, &node));
    assert!(text.contains("tensor p [1, 15] is missing"), "{text}");

    // A node without peepholes is one whose peepholes are zero; one with them is not taken for one without.
    let node = OnnxNames {
        peepholes: None,
        ..onnx_names(case)
    };
    let text = message(Recurrent::new(peephole()).with_onnx(&weights, &node));
    assert!(
        text.contains("tensor onnx_peephole_forward/P: it is beside the node's W"),
        "{text}"
    );
    let mut without = weights.clone();
    without.remove("onnx_peephole_forward/P");
    let layer = Recurrent::new(peephole()).with_onnx(&without, &node);
    let sum = layer.unwrap().cell.output_peephole.val().abs().sum();
    assert_eq!(sum.into_scalar::<f32>(), 0.0);

    let stack = gru_stack(2, true, true);
    let text = message(stack.with_onnx(&weights, &[onnx_names("onnx_gru_stack/0")]));
    assert_eq!(text, "names of 2 layers are needed, got 1");
}

#[test]
fn what_another_format_has_not_is_an_error() {
    let mut weights = Weights::new();
    let text = message(Recurrent::new(gru_before()).to_pytorch(&mut weights, &names("")));
    assert!(text.contains("reset gate before the product"), "{text}");

    let square = LstmpCellConfig::new(LstmCellConfig::new(I, H), H).init(&device());
    let text = message(square.to_pytorch(&mut weights, &names("")));
    assert!(text.contains("a projection to as many features"), "{text}");

    let learned = Recurrent::new(gru()).with_learned_state(&device());
    for result in [
        learned.to_pytorch(&mut weights, &names("")),
        learned.to_keras(&mut weights, "layers/gru"),
        learned.to_onnx(&mut weights, &OnnxNames::default()),
    ] {
        assert!(message(result).contains("a learned initial state"));
    }

    let sizes = [H, H + 1].map(|d_hidden| gru_cell(GruCellConfig::new(I, d_hidden)));
    let uneven = RecurrentStack::bidirectional(sizes.to_vec());
    let text = message(uneven.to_pytorch(&mut weights, &names("")));
    assert!(text.contains("layers of different sizes"), "{text}");
    let text = message(uneven.to_onnx(&mut weights, &[OnnxNames::default()]));
    assert!(text.contains("directions of different sizes"), "{text}");

    let coupled = LstmConfig::new(I, H, true).with_input_forget(true);
    let coupled = coupled.init(&device());
    let text = message(coupled.to_keras(&mut weights, "layers/lstm"));
    assert!(text.contains("coupled gates"), "{text}");
    let node = OnnxNames {
        peepholes: None,
        ..OnnxNames::default()
    };
    let text = message(Recurrent::new(peephole()).to_onnx(&mut weights, &node));
    assert!(text.contains("OnnxNames::peepholes is None"), "{text}");

    let mut without = peephole();
    without.forget_peephole = None;
    let text = message(Recurrent::new(without).to_onnx(&mut weights, &OnnxNames::default()));
    assert!(
        text.contains("peepholes without the forget gate's"),
        "{text}"
    );

    let mut one_bias = gru();
    one_bias.candidate_bias = None;
    let text = message(one_bias.to_pytorch(&mut weights, &names("")));
    assert!(text.contains("one of a GRU's two biases"), "{text}");
}
