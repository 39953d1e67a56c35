//! What a layer asks of the GPU: how many kernels are launched for a sequence, and what is read back in a
//! step of training. wgpu's own log of its calls is what is counted.
//!
//! Ignored, by name, where there is no adapter; a failure there with `LSTM_CORE_REQUIRE_WGPU` set.

use burn::module::Module;
use burn::tensor::{Device, DeviceType, Distribution, Tensor};
use libtest_mimic::{Arguments, Failed, Trial};
use log::{LevelFilter, Log, Metadata, Record};
use lstm_core::{Lstm, LstmConfig, Rnn, RnnConfig};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Steps of the sequences whose launches are counted.
const TIME: usize = 100;

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

/// Runs the work until the device has done it. One at a time, for there is one log.
fn count(device: &Device, work: impl FnOnce()) -> Asked {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap();
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

fn main() {
    let arguments = Arguments::from_args();
    log::set_logger(&CALLS).unwrap();
    let device = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .next()
        .unwrap();
    let device = device.autodiff();
    for (h, b) in [(64, 8), (257, 4)] {
        let layer = LstmConfig::new(5, h, true).init(&device);
        let x = Tensor::<3>::random([b, TIME, 5], Distribution::Default, &device);
        for i in 0..4 {
            let asked = count(&device, || {
                let (y, _) = layer.valid().forward(x.clone().inner(), None);
                drop(y);
            });
            println!("{h} {i} infer {asked:?}");
            let asked = count(&device, || {
                let (y, _) = layer.forward(x.clone(), None);
                y.sum().backward();
            });
            println!("{h} {i} train {asked:?}");
            let asked = count(&device, || {
                let (y, s) = layer.forward(x.clone(), None);
                s.hidden.sum().backward();
                y.sum().into_scalar::<f32>();
            });
            println!("{h} {i} read {asked:?}");
        }
    }
}
