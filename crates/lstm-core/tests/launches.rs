//! What a layer asks of the GPU: how many kernels are launched for a sequence, and what is read back in a
//! step of training. wgpu's own log of its calls is what is counted.
//!
//! Ignored, by name, where there is no adapter; a failure there with `LSTM_CORE_REQUIRE_WGPU` set.

#[path = "devices/apart.rs"]
mod apart;

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, DeviceType, Distribution, Tensor};
use libtest_mimic::{Arguments, Failed, Trial};
use log::{LevelFilter, Log, Metadata, Record};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmConfig, PeepholeLstmCellConfig, Recurrent,
    RecurrentDropout, RnnCellConfig, SLstmCellConfig, Zoneout,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Steps of the sequences whose launches are counted.
const TIME: usize = 100;

/// Launches that a GRU needs beside those of the others, forward and both ways: its biases are put side by side.
const OF_GRU: [usize; 2] = [1, 1];
/// Launches that peepholes need: they are put side by side, and their gradients are a sum of their own.
const OF_PEEPHOLES: [usize; 2] = [1, 2];
/// Launches that an sLSTM's three states beside the hidden one need: they are put side by side and taken apart.
const OF_SLSTM: [usize; 2] = [3, 3];
/// Launches that drawing a mask needs.
const OF_DROPOUT: [usize; 2] = [2, 3];
/// Launches that drawing what zoneout changes needs.
const OF_ZONEOUT: [usize; 2] = [3, 4];
/// Launches that a second product needs in a sequence, forward and both ways.
const OF_SECOND_PRODUCT: [usize; 2] = [1, 4];

/// Counts wgpu's calls.
struct Calls {
    launches: AtomicUsize,
    reads: AtomicUsize,
}

static CALLS: Calls = Calls {
    launches: AtomicUsize::new(0),
    reads: AtomicUsize::new(0),
};

impl Log for Calls {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let call = record.args().to_string();
        if std::env::var_os("SHOW").is_some() {
            println!("{call}");
        }
        if call.starts_with("ComputePass::dispatch") {
            self.launches.fetch_add(1, Ordering::SeqCst);
        } else if call.starts_with("Buffer::map_async") && call.contains("Read") {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

/// What a piece of work asked for.
#[derive(Debug)]
struct Asked {
    launches: usize,
    reads: usize,
}

/// Runs the work until the device has done it.
fn count(device: &Device, work: impl FnOnce()) -> Asked {
    device.sync().unwrap();
    for counter in [&CALLS.launches, &CALLS.reads] {
        counter.store(0, Ordering::SeqCst);
    }
    log::set_max_level(LevelFilter::Trace);
    work();
    device.sync().unwrap();
    log::set_max_level(LevelFilter::Off);
    Asked {
        launches: CALLS.launches.load(Ordering::SeqCst),
        reads: CALLS.reads.load(Ordering::SeqCst),
    }
}

/// Forward and backward with gradients of everything, warmed up; of an inference, forward alone.
fn launches<C: Cell>(device: &Device, cell: C, batch: usize) -> [usize; 2] {
    let (layer, input) = (Recurrent::new(cell.clone()), cell.d_input());
    let x = Tensor::<3>::random([batch, TIME, input], Distribution::Default, device);
    let inference = layer.valid();
    let mut launches = [0; 2];
    // Matrix products are tuned in the first run and, on a busy machine, beside the next ones: until two
    // in turn ask for the same.
    for _ in 0..20 {
        let before = launches;
        let forward = count(device, || drop(inference.forward(x.clone().inner(), None)));
        let both = count(device, || {
            // The gradient of the output is all ones: one launch that isn't the layer's.
            let (output, _) = layer.forward(x.clone().require_grad(), None);
            drop(output.backward());
        });
        launches = [forward.launches, both.launches - 1];
        if launches == before {
            break;
        }
    }
    launches
}

/// Checks the launches of every cell that has kernels, for inference and for forward and backward.
fn each_cell(
    device: &Device,
    [batch, input, hidden]: [usize; 3],
    bounds: [usize; 2],
    second: [usize; 2],
) -> Result<(), Failed> {
    let at_most = |name: &str, got: [usize; 2], more: [usize; 2]| {
        for (what, k) in [("inference", 0), ("forward and backward", 1)] {
            let (got, bound) = (got[k], bounds[k] + more[k]);
            println!("{name} of {hidden} units, {what}: {got} launches, bound {bound}");
            if got > bound {
                let what = format!("{name} of {hidden} units, {what}");
                return Err(format!("{what}: {got} launches, at most {bound} expected").into());
            }
        }
        Ok::<_, Failed>(())
    };
    let lstm = LstmCellConfig::new(input, hidden);
    let count = launches(device, lstm.init(device), batch);
    at_most("LSTM", count, [0, 0])?;
    let rnn = RnnCellConfig::new(input, hidden);
    at_most("RNN", launches(device, rnn.init(device), batch), [0, 0])?;
    let gru = GruCellConfig::new(input, hidden);
    let count = launches(device, gru.clone().init(device), batch);
    at_most("GRU", count, OF_GRU)?;
    let peephole = PeepholeLstmCellConfig::new(lstm.clone()).init(device);
    let count = launches(device, peephole, batch);
    at_most("peephole LSTM", count, OF_PEEPHOLES)?;
    let clipped = lstm.clone().with_clip_sums(Some(0.8)).init(device);
    let count = launches(device, clipped, batch);
    at_most("LSTM with clipped sums", count, [0, 0])?;
    let slstm = SLstmCellConfig::new(input, hidden).init(device);
    at_most("sLSTM", launches(device, slstm, batch), OF_SLSTM)?;
    let dropout = RecurrentDropout::new(lstm.init(device), 0.25);
    let count = launches(device, dropout, batch);
    at_most("LSTM with recurrent dropout", count, OF_DROPOUT)?;
    let zoneout = Zoneout::new(lstm.init(device), &[0.25, 0.5]);
    at_most(
        "LSTM with zoneout",
        launches(device, zoneout, batch),
        OF_ZONEOUT,
    )?;
    let reset_first = gru.with_reset_after(false).init(device);
    let count = launches(device, reset_first, batch);
    at_most("GRU, reset first", count, second)
}

/// Up to 256 units: one launch for all steps in either direction, and the products. Forward these are a
/// product, the kernel and zeros for the state; backward `R` transposed, the kernel, its result
/// transposed, three products and the bias' sum. Burn's tuner finds out anew on every machine which
/// products are fastest, and some of them copy `W`, and `x` in the backward pass, to another layout first.
fn sequence_kernels(device: &Device) -> Result<(), Failed> {
    for shape in [[32, 2, 64], [5, 7, 128], [1, 16, 256]] {
        each_cell(device, shape, [3 + 1, 10 + 2], OF_SECOND_PRODUCT)?;
    }
    Ok(())
}

/// More units: for each step a product and a launch for everything else.
fn step_kernels(device: &Device) -> Result<(), Failed> {
    for shape in [[4, 3, 257], [16, 8, 300]] {
        let second = [2 * TIME + 12, 4 * TIME + 24];
        each_cell(device, shape, [2 * TIME + 12, 4 * TIME + 24], second)?;
    }
    Ok(())
}

/// Training waits for the GPU only where somebody reads the loss.
fn training_reads_the_loss_only(device: &Device) -> Result<(), Failed> {
    let mut layer = LstmConfig::new(2, 8, true).init(device);
    let mut optimizer = SgdConfig::new().init();
    let x = Tensor::<3>::random([4, TIME, 2], Distribution::Default, device);
    let mut loss = Tensor::zeros([1], device);
    // Matrix products are tuned in the first steps and, on a busy machine, beside the next ones; the tuner
    // reads its times.
    let mut reads = usize::MAX;
    for _ in 0..20 {
        let asked = count(device, || {
            for _ in 0..5 {
                let (_, state) = layer.forward(x.clone(), None);
                loss = state.hidden.square().mean();
                let gradients = GradientsParams::from_grads(loss.backward(), &layer);
                layer = optimizer.step(0.1, layer.clone(), gradients);
            }
        });
        reads = asked.reads;
        if reads == 0 {
            break;
        }
    }
    if reads > 0 {
        return Err(format!("five steps read {reads} times, again and again").into());
    }
    let asked = count(device, || {
        loss.clone().into_scalar::<f32>();
    });
    match asked.reads {
        1 => Ok(()),
        reads => Err(format!("the loss was read in {reads} times").into()),
    }
}

fn main() {
    log::set_logger(&CALLS).expect("there is no other");
    let adapter = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .next();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    type Test = fn(&Device) -> Result<(), Failed>;
    let tests: [(&str, Test); 3] = [
        ("sequence_kernels", sequence_kernels),
        ("step_kernels", step_kernels),
        ("training_reads_the_loss_only", training_reads_the_loss_only),
    ];
    let trials = tests.map(|(name, test)| {
        let name = format!("{name} [wgpu]");
        match adapter.clone() {
            // There is one log: what another test asks for meanwhile would be counted too.
            Some(device) => apart::trial(name, || test(&device.autodiff())),
            None if required => Trial::test(name, || Err("there is no wgpu adapter".into())),
            None => Trial::test(name, || Ok(())).with_ignored_flag(true),
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
