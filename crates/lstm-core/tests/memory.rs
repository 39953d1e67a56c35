//! What a layer saves for backward, and whether a step packs weights, in bytes that the process's allocator
//! counts. A test target of its own, with one test: others would allocate at the same time.

mod allocations;
mod devices;

use allocations::{Bytes, count};
use burn::tensor::{Device, Distribution, Tensor};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmConfig, Recompute, Recurrent, RecurrentLayer,
    RnnCellConfig, RnnConfig,
};

const BATCH: usize = 4;
const FEATURES: usize = 3;
const UNITS: usize = 64;
/// Bytes of one state of all rows, `[B, H]`.
const STATE: usize = BATCH * UNITS * 4;
/// For what doesn't grow with `T`: Burn's graph,
const GRAPH: usize = 1 << 16;
/// and the kernels' buffers, packed weights and weights' gradients.
const BUFFERS: usize = 1 << 18;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Lstm,
    Rnn,
}

/// Of a loss that sees the final hidden state alone, so that nobody else needs the output.
fn bytes(kind: Kind, device: &Device, time: usize, recompute: Option<Recompute>) -> Bytes {
    let input = Tensor::<3>::random([BATCH, time, FEATURES], Distribution::Default, device);
    let lstm = LstmConfig::new(FEATURES, UNITS, true)
        .with_recompute(recompute)
        .init(device);
    let rnn = RnnConfig::new(FEATURES, UNITS, true)
        .with_recompute(recompute)
        .init(device);
    let forward = || match kind {
        Kind::Lstm => lstm.forward(input.clone(), None).1.hidden,
        Kind::Rnn => rnn.forward(input.clone(), None).1.hidden,
    };
    let backward = |hidden: Tensor<2>| hidden.square().mean().backward();
    // Once before: threads start, and Burn makes what it keeps for ever.
    backward(forward());
    count(forward, backward)
}

#[test]
fn what_is_allocated() {
    what_is_kept_grows_with_the_root_of_the_steps();
    a_step_packs_no_weights("lstm", 4, |h, device| {
        LstmCellConfig::new(h, h).init(device)
    });
    a_step_packs_no_weights("gru", 3, |h, device| GruCellConfig::new(h, h).init(device));
    a_step_packs_no_weights("rnn", 1, |h, device| RnnCellConfig::new(h, h).init(device));
}

/// Of a cell with so many gates; many steps do pack them, and are seen to.
fn a_step_packs_no_weights<C: Cell>(name: &str, gates: usize, cell: impl Fn(usize, &Device) -> C) {
    const UNITS: usize = 256;
    let device = Device::flex();
    let layer = Recurrent::new(cell(UNITS, &device));
    let weights = 2 * UNITS * gates * UNITS * 4;
    let row = Tensor::<2>::random([1, UNITS], Distribution::Default, &device);
    let sequence = Tensor::<3>::random([1, 40, UNITS], Distribution::Default, &device);
    let step = || RecurrentLayer::step(&layer, row.clone(), None);
    let many = || layer.forward(sequence.clone(), None);
    // Once before, as above.
    drop((step(), many()));
    let one = count(step, drop).peak;
    let all = count(many, drop).peak;
    println!("{name}: a step {one}, many {all}, weights {weights} bytes");
    assert!(one < weights / 10, "{name}: {one} of {weights}");
    assert!(all > weights, "{name}: {all} of {weights}");
}

fn what_is_kept_grows_with_the_root_of_the_steps() {
    for (name, device) in devices::cpu() {
        let device = device.autodiff();
        // Numbers kept of each step, the output counted, and states between segments.
        for (kind, each, states) in [(Kind::Lstm, 6, 2), (Kind::Rnn, 2, 1)] {
            for time in [1024, 4096] {
                let plain = bytes(kind, &device, time, None);
                let root = bytes(kind, &device, time, Some(Recompute::SquareRoot));
                println!("{name}, {kind:?}, T = {time}: {plain:?}, recomputing {root:?}");
                assert!(plain.kept >= each * time * STATE);
                let segments = time.isqrt();
                let expected = states * segments * STATE;
                assert!(root.kept >= expected, "{root:?}");
                assert!(root.kept < expected + GRAPH, "{root:?}");
                // At its most: the output of the whole, and either the states or a segment on its way back.
                let segment = (each + 2) * segments * STATE;
                let most = time * STATE + expected + segment + BUFFERS;
                assert!(root.peak < most, "{root:?}");

                // What the device says, the layer does, unless it says otherwise.
                let checkpointing = device.clone().gradient_checkpointing();
                let told = bytes(kind, &checkpointing, time, None);
                assert!(told.kept.abs_diff(root.kept) < GRAPH, "{told:?}");
                let never = bytes(kind, &checkpointing, time, Some(Recompute::Never));
                assert!(never.kept.abs_diff(plain.kept) < GRAPH, "{never:?}");
            }
            let all = bytes(kind, &device, 1024, Some(Recompute::Every(1024)));
            assert!(all.kept < GRAPH, "{all:?}");
        }
    }
}
