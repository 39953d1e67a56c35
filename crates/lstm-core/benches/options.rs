//! What each option of a layer costs: the layer with it and without, in turn, and the ratio of the times; and in the
//! same way what takes the fallback.
//!
//! ```text
//! cargo bench -p lstm-core -p training -p examples --bench options [-- B,T,I,H …]
//! ```

mod shapes;
mod turns;

use burn::nn::PReluConfig;
use burn::nn::activation::ActivationConfig;
use burn::tensor::{Device, Tensor, TensorData};
use lstm_core::{
    Cell, Gate, GruCell, GruCellConfig, LayerNormLstmCellConfig, LstmCell, LstmCellConfig,
    LstmConfig, LstmWithoutGate, LstmpCellConfig, Nonlinearity, PeepholeLstmCellConfig, Recurrent,
    RecurrentDropout, RecurrentLayer, Steps, Zoneout,
};
use turns::compare;

const SHAPES: [[usize; 4]; 3] = [[32, 50, 2, 64], [64, 100, 2, 128], [32, 100, 128, 256]];

fn main() {
    println!("forward and backward on Flex; ratio to the plain layer of the cell");
    let device = Device::flex().autodiff();
    for shape in shapes::given_or(&SHAPES) {
        let [b, t, i, h] = shape;
        println!("B,T,I,H = {b},{t},{i},{h}");
        let lstm = LstmCellConfig::new(i, h);
        let plain = Recurrent::new(lstm.init(&device));
        let with =
            |what: &str, config: LstmCellConfig| cell(what, shape, &plain, config.init(&device));
        let drop_in = LstmConfig::new(i, h, true).init(&device);
        layer("Lstm", shape, &plain, &drop_in, &Steps::default());
        with("clip of the cell state", lstm.clone().with_clip(Some(3.0)));
        with("clip of the sums", lstm.clone().with_clip_sums(Some(3.0)));
        with("coupled gates", lstm.clone().with_input_forget(true));
        let hard = Nonlinearity::HardSigmoid {
            alpha: 0.2.into(),
            beta: 0.5.into(),
        };
        with("hard sigmoid", lstm.clone().with_gate_activation(hard));
        let peepholes = PeepholeLstmCellConfig::new(lstm.clone()).init(&device);
        cell("peepholes", shape, &plain, peepholes);
        let open = LstmWithoutGate::new(lstm.init(&device), Gate::Output);
        cell("without the output gate", shape, &plain, open);
        cell(
            "zoneout",
            shape,
            &plain,
            Zoneout::new(lstm.init(&device), &[0.1, 0.1]),
        );
        cell(
            "recurrent dropout",
            shape,
            &plain,
            RecurrentDropout::new(lstm.init(&device), 0.1),
        );
        cell(
            "recurrent dropout by gates",
            shape,
            &plain,
            RecurrentDropout::new(lstm.init(&device), 0.1).with_mask_per_gate(true),
        );
        let own = || Recurrent::new(lstm.init(&device));
        let all = Steps::default();
        layer("in reverse", shape, &plain, &own().with_reverse(true), &all);
        layer(
            "truncation",
            shape,
            &plain,
            &own().with_truncation(t.div_ceil(4)),
            &all,
        );
        layer(
            "learned initial state",
            shape,
            &plain,
            &own().with_learned_state(&device),
            &all,
        );
        steps(shape, &plain);
        let gru = GruCellConfig::new(i, h);
        let plain = Recurrent::<GruCell>::new(gru.init(&device));
        let clipped = gru.clone().with_clip_sums(Some(3.0)).init(&device);
        cell("GRU: clip of the sums", shape, &plain, clipped);
        cell(
            "GRU: zoneout",
            shape,
            &plain,
            Zoneout::new(gru.init(&device), &[0.1]),
        );
        fallback(shape, &plain);
    }
}

/// What has no kernels.
fn fallback(shape: [usize; 4], gru: &Recurrent<GruCell>) {
    let [_, _, i, h] = shape;
    let device = Device::flex().autodiff();
    let lstm = LstmCellConfig::new(i, h);
    let plain = Recurrent::new(lstm.init(&device));
    let normed = LayerNormLstmCellConfig::new(lstm.clone()).init(&device);
    cell("fallback: layer norm", shape, &plain, normed);
    let prelu = ActivationConfig::PRelu(PReluConfig::new());
    let with = lstm.clone().with_cell_activation(prelu).init(&device);
    cell("fallback: PReLU", shape, &plain, with);
    let projected = LstmpCellConfig::new(lstm, h / 2).init(&device);
    let zoned = Zoneout::new(projected, &[0.1, 0.1]);
    cell("fallback: projection in zoneout", shape, &plain, zoned);
    let reset_first = GruCellConfig::new(i, h).with_reset_after(false);
    let dropped = RecurrentDropout::new(reset_first.init(&device), 0.1);
    let what = "fallback: GRU, reset gate first, with recurrent dropout";
    cell(what, shape, gru, dropped);
}

/// Masks and resets.
fn steps([b, t, i, h]: [usize; 4], plain: &Recurrent<LstmCell>) {
    let flags = |flag: &dyn Fn(usize, usize) -> bool| {
        let all: Vec<bool> = (0..b * t).map(|place| flag(place / t, place % t)).collect();
        Tensor::from_data(TensorData::new(all, [b, t]), &Device::flex())
    };
    // A row has one to an eighth of its steps less.
    let missing = |row: usize| 1 + row * t / (8 * b);
    let lengths: Vec<usize> = (0..b).map(|row| t - missing(row)).collect();
    let left = flags(&|row, step| step >= missing(row));
    let gaps = flags(&|row, step| (row + step) % 10 > 0);
    let first = flags(&|row, step| (row + step) % 25 == 0);
    let with = |what: &str, steps: Steps| layer(what, [b, t, i, h], plain, plain, &steps);
    with("lengths", Steps::default().with_mask(lengths));
    with("padding on the left", Steps::default().with_mask(left));
    with("gaps, a step of ten", Steps::default().with_mask(gaps));
    with("resets, a step of 25", Steps::default().with_resets(first));
}

fn cell<C: Cell, O: Cell>(what: &str, shape: [usize; 4], plain: &Recurrent<C>, other: O)
where
    Recurrent<C>: RecurrentLayer,
    Recurrent<O>: RecurrentLayer,
{
    layer(
        what,
        shape,
        plain,
        &Recurrent::new(other),
        &Steps::default(),
    );
}

fn layer<const D: usize, const E: usize>(
    what: &str,
    [b, t, i, _]: [usize; 4],
    plain: &impl RecurrentLayer<D>,
    other: &impl RecurrentLayer<E>,
    steps: &Steps,
) {
    let all = Steps::default();
    compare(
        what,
        [b, t, i],
        &|x| plain.forward_with(x, None, &all).0,
        &|x| other.forward_with(x, None, steps).0,
    );
}
