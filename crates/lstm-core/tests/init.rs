//! Initialisation: orthogonal and Glorot gate by gate, biases, seeds.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Initializer;
use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::{Device, Tensor};
use lstm_core::convert::{Keras, Onnx, OnnxNames, PyTorch, PyTorchNames, Weights, load_burn_nn};
use lstm_core::{
    Cell, Gate, GruConfig, Lstm, LstmCell, LstmCellConfig, LstmConfig, LstmStackConfig,
    LstmpCellConfig, PeepholeLstmCellConfig, RnnCellConfig, SLstmCellConfig,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// A seeded device. Its random numbers are global, so tests that draw take turns: keep the guard.
fn seeded(seed: u64) -> (MutexGuard<'static, ()>, Device) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(seed);
    (turn, device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn assert_orthogonal(matrix: Tensor<2>, gain: f64) {
    let [rows, _] = matrix.dims();
    let product = matrix.clone().matmul(matrix.transpose());
    for (k, value) in values(product).into_iter().enumerate() {
        let expected = if k / rows == k % rows {
            gain * gain
        } else {
            0.0
        };
        assert!((value - expected).abs() < 1e-5, "element {k}: {value}");
    }
}

#[test]
fn each_recurrent_block_is_orthogonal() {
    let (_turn, device) = seeded(4);
    let cell = LstmCellConfig::new(3, 40).init(&device);
    assert_eq!(cell.recurrent_weight.dims(), [40, 160]);
    for gate in Gate::PACKED {
        assert_orthogonal(cell.gate(gate).recurrent_weight, 1.0);
    }
    let rnn = RnnCellConfig::new(3, 40).init(&device);
    assert_orthogonal(rnn.recurrent_weight.val(), 1.0);
    let rnn = RnnCellConfig::new(3, 1).init(&device);
    assert_orthogonal(rnn.recurrent_weight.val(), 1.0);
}

#[test]
fn the_shorter_side_of_a_rectangle_is_orthogonal() {
    let (_turn, device) = seeded(5);
    let wide = lstm_core::init::orthogonal(5, 9, 2.0, &device);
    assert_eq!(wide.dims(), [5, 9]);
    assert_orthogonal(wide, 2.0);
    let tall = lstm_core::init::orthogonal(9, 5, 2.0, &device);
    assert_eq!(tall.dims(), [9, 5]);
    assert_orthogonal(tall.transpose(), 2.0);
}

/// Also where several blocks of reflections make it up, the last of them shorter.
#[test]
fn large_matrices_are_orthogonal() {
    let (_turn, device) = seeded(9);
    for [rows, columns] in [[31, 31], [64, 64], [100, 100], [70, 33], [33, 70], [1, 5]] {
        let matrix = lstm_core::init::orthogonal(rows, columns, 1.0, &device);
        assert_eq!(matrix.dims(), [rows, columns]);
        assert_orthogonal(
            if rows > columns {
                matrix.transpose()
            } else {
                matrix
            },
            1.0,
        );
    }
}

/// What is uniform over all orthogonal matrices stays so when rows change places, so the sum along any such
/// diagonal has mean 0 and variance 1, and about a normal's kurtosis.
#[test]
fn orthogonal_matrices_are_uniform() {
    let (_turn, device) = seeded(10);
    for (n, draws) in [(1, 400), (2, 400), (5, 400), (40, 400)] {
        let draw = || values(lstm_core::init::orthogonal(n, n, 1.0, &device));
        let drawn: Vec<Vec<f64>> = core::iter::repeat_with(draw).take(draws).collect();
        for shift in [0, 1, n - 1] {
            let along = |q: &Vec<f64>| (0..n).map(|k| q[k * n + (k + shift) % n]).sum();
            let sums: Vec<f64> = drawn.iter().map(along).collect();
            assert_moments(&sums, 1.0, 3.0);
        }
    }
}

#[test]
fn initialisers_have_burns_moments() {
    let (_turn, device) = seeded(11);
    let (i, h) = (60, 50);
    let kaiming = |fan_out_only| [1.0 / i as f64, 1.0 / h as f64][usize::from(fan_out_only)];
    let gain = 1.5;
    let mut cases = vec![
        (
            Initializer::Uniform {
                min: -2.0,
                max: 2.0,
            },
            4.0 / 3.0,
            1.8,
        ),
        (
            Initializer::Normal {
                mean: 0.0,
                std: 0.5,
            },
            0.25,
            3.0,
        ),
        (
            Initializer::XavierUniform { gain },
            4.5 / (i + h) as f64,
            1.8,
        ),
        (
            Initializer::XavierNormal { gain },
            4.5 / (i + h) as f64,
            3.0,
        ),
    ];
    for fan_out_only in [false, true] {
        let variance = gain * gain * kaiming(fan_out_only);
        cases.push((
            Initializer::KaimingUniform { gain, fan_out_only },
            variance,
            1.8,
        ));
        cases.push((
            Initializer::KaimingNormal { gain, fan_out_only },
            variance,
            3.0,
        ));
    }
    for (initializer, variance, kurtosis) in cases {
        println!("{initializer}");
        let config = LstmCellConfig::new(i, h).with_input_initializer(initializer.clone());
        let weight = values(config.init(&device).input_weight.val());
        assert_moments(&weight, variance, kurtosis);
        let burns = initializer.init_with::<2, _>([i, 4 * h], Some(i), Some(h), &device);
        assert_moments(&values(burns.val()), variance, kurtosis);
    }
    let shifted = Initializer::Normal {
        mean: 3.0,
        std: 0.5,
    };
    let config = PeepholeLstmCellConfig::new(LstmCellConfig::new(2, 500));
    let cell = config.with_peephole_initializer(shifted).init(&device);
    let peephole = values(cell.input_peephole.val());
    let centred: Vec<f64> = peephole.into_iter().map(|value| value - 3.0).collect();
    assert_moments(&centred, 0.25, 3.0);
}

/// Mean and variance of `n` draws, each within five standard errors (of the variance: for the given
/// kurtosis).
fn assert_moments(values: &[f64], variance: f64, kurtosis: f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|v| v * v).sum::<f64>() / n;
    assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "mean {mean}");
    let error = variance * ((kurtosis - 1.0) / n).sqrt();
    assert!(
        (spread - variance).abs() < 5.0 * error,
        "variance {spread}, not {variance}"
    );
}

#[test]
fn each_input_block_has_glorots_variance() {
    let (_turn, device) = seeded(1);
    let (i, h) = (60, 50);
    let variance = 2.0 / (i + h) as f64;
    let cell = LstmCellConfig::new(i, h).init(&device);
    for gate in Gate::PACKED {
        let block = values(cell.gate(gate).input_weight);
        assert_moments(&block, variance, 1.8); // uniform
        let bound = (3.0 * variance).sqrt();
        assert!(block.iter().all(|value| value.abs() <= bound));
    }
    let rnn = RnnCellConfig::new(i, h).init(&device);
    assert_moments(&values(rnn.input_weight.val()), variance, 3.0); // normal
}

#[test]
fn an_initialiser_serves_both_weights() {
    let (_turn, device) = seeded(6);
    let ones = LstmCellConfig::new(2, 3)
        .with_initializer(Initializer::Ones)
        .init(&device);
    assert_eq!(values(ones.input_weight.val()), [1.0; 24]);
    assert_eq!(values(ones.recurrent_weight.val()), [1.0; 36]);
    // Gaussian for R alone, the textbook's RNN.
    let normal = Initializer::Normal {
        mean: 0.0,
        std: 0.1,
    };
    let rnn = RnnCellConfig::new(2, 80)
        .with_recurrent_initializer(normal)
        .init(&device);
    assert_moments(&values(rnn.recurrent_weight.val()), 0.01, 3.0);
}

fn biases(cell: &LstmCell, gate: Gate) -> Vec<f64> {
    values(cell.gate(gate).bias.unwrap())
}

#[test]
fn biases_are_zero_but_for_the_forget_gate() {
    let (_turn, device) = seeded(7);
    for (config, expected) in [
        (LstmCellConfig::new(2, 3), 1.0),
        (LstmCellConfig::new(2, 3).with_forget_bias(0.0), 0.0),
        (LstmCellConfig::new(2, 3).with_forget_bias(3.5), 3.5),
    ] {
        let cell = config.init(&device);
        assert_eq!(biases(&cell, Gate::Forget), [expected; 3]);
        for gate in [Gate::Input, Gate::Cell, Gate::Output] {
            assert_eq!(biases(&cell, gate), [0.0; 3]);
        }
    }
    let none = LstmCellConfig::new(2, 3).with_bias(false).init(&device);
    assert!(none.bias.is_none());
    let rnn = RnnCellConfig::new(2, 3).init(&device);
    assert_eq!(values(rnn.bias.unwrap().val()), [0.0; 3]);
}

#[test]
fn coupled_gates_open_the_memory_through_the_input_gate() {
    let (_turn, device) = seeded(8);
    let cell = LstmCellConfig::new(2, 3)
        .with_input_forget(true)
        .init(&device);
    assert_eq!(cell.input_weight.dims(), [2, 9]);
    assert_eq!(cell.recurrent_weight.dims(), [3, 9]);
    assert_eq!(biases(&cell, Gate::Input), [-1.0; 3]);
    assert_eq!(biases(&cell, Gate::Cell), [0.0; 3]);
    assert_eq!(biases(&cell, Gate::Output), [0.0; 3]);
}

#[test]
fn chrono_spreads_the_memories() {
    let (_turn, device) = seeded(2);
    let (t_max, h) = (200, 500);
    let cell = LstmCellConfig::new(2, h)
        .with_chrono(Some(t_max))
        .init(&device);
    let forget = biases(&cell, Gate::Forget);
    let input = biases(&cell, Gate::Input);
    assert!(forget.iter().zip(&input).all(|(f, i)| *f == -*i));
    assert_eq!(biases(&cell, Gate::Cell), vec![0.0; h]);
    // exp(b_f) is uniform on [1, t_max - 1].
    let spans: Vec<f64> = forget.iter().map(|b| b.exp()).collect();
    let (low, high) = (1.0, (t_max - 1) as f64);
    assert!(
        spans
            .iter()
            .all(|span| (low - 1e-3..=high + 1e-3).contains(span))
    );
    let centred: Vec<f64> = spans.iter().map(|span| span - (low + high) / 2.0).collect();
    assert_moments(&centred, (high - low).powi(2) / 12.0, 1.8);

    let shortest = LstmCellConfig::new(2, 3).with_chrono(Some(2)).init(&device);
    assert_eq!(biases(&shortest, Gate::Forget), [0.0; 3]);
}

#[test]
#[should_panic(
    expected = "chrono initialisation: the longest time span must be at least 2 steps, got 1"
)]
fn chrono_needs_two_steps() {
    let (_turn, device) = seeded(17);
    LstmCellConfig::new(2, 3).with_chrono(Some(1)).init(&device);
}

#[test]
fn a_seed_gives_the_same_weights_twice() {
    let (_turn, device) = seeded(3);
    let draw = |seed| {
        device.seed(seed);
        let config = LstmConfig::new(4, 6, true).with_chrono(Some(30));
        let cell = LstmCell::from(config.init(&device));
        [
            values(cell.input_weight.val()),
            values(cell.recurrent_weight.val()),
            values(cell.bias.unwrap().val()),
        ]
    };
    let first = draw(3);
    assert_eq!(first, draw(3));
    for (a, b) in first.iter().zip(draw(4)) {
        assert_ne!(*a, b);
    }
}

/// How many parameters have been drawn. A clone tells of those of the module it was cloned from.
fn drawn(module: &impl Module) -> usize {
    struct Look(usize);
    impl ModuleVisitor for Look {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 += usize::from(param.is_initialized());
        }
    }
    let mut look = Look(0);
    module.visit(&mut look);
    look.0
}

#[test]
fn the_order_of_use_makes_no_difference() {
    let (_turn, device) = seeded(12);
    let make = || {
        device.seed(12);
        let lstm = LstmCellConfig::new(4, 6).with_chrono(Some(30));
        let peephole_initializer = Initializer::XavierNormal { gain: 1.0 };
        PeepholeLstmCellConfig::new(lstm)
            .with_peephole_initializer(peephole_initializer)
            .init(&device)
    };
    let all = |cell: &lstm_core::PeepholeLstmCell, order: [usize; 5]| {
        let mut all = vec![vec![]; 5];
        for k in order {
            let lstm = &cell.lstm;
            all[k] = match k {
                0 => values(lstm.input_weight.val()),
                1 => values(lstm.recurrent_weight.val()),
                2 => values(lstm.bias.as_ref().unwrap().val()),
                3 => values(cell.input_peephole.val()),
                _ => values(cell.output_peephole.val()),
            };
        }
        all
    };
    let (one, other) = (make(), make());
    assert_eq!(drawn(&one), 0);
    let first = all(&one, [0, 1, 2, 3, 4]);
    // Drawing something else between has no influence either.
    device.seed(5);
    assert_eq!(all(&other, [4, 2, 1, 0, 3]), first);
    let flat: Vec<f64> = first.concat();
    let mut different = flat.clone();
    different.sort_by(f64::total_cmp);
    different.dedup();
    // (The candidate's and the output gate's biases are zero.)
    assert!(flat.len() - different.len() < 2 * 6);
}

/// Weights are drawn where they are first used, and are the same on each device.
#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)] // of NdArray
fn a_module_moves_before_it_is_drawn() {
    let (_turn, device) = seeded(13);
    let make = || {
        device.seed(13);
        LstmCellConfig::new(4, 6).init(&device)
    };
    let there = make().to_device(&Device::ndarray());
    assert_eq!(drawn(&there), 0);
    assert_eq!(there.recurrent_weight.val().device(), Device::ndarray());
    assert_eq!(
        values(there.recurrent_weight.val()),
        values(make().recurrent_weight.val())
    );
    let device = device.autodiff();
    let [trained, frozen] = [(), ()].map(|()| LstmCellConfig::new(4, 6).init(&device));
    let frozen = frozen.no_grad();
    assert!(trained.recurrent_weight.val().is_require_grad());
    assert!(!frozen.recurrent_weight.val().is_require_grad());
}

#[test]
fn sizes_are_known_without_drawing() {
    let (_turn, device) = seeded(14);
    let stack = LstmStackConfig::new(3, 4, 2, true).init(&device);
    let cell = || LstmCellConfig::new(3, 4);
    let projected = LstmpCellConfig::new(cell(), 2).init(&device);
    let slstm = SLstmCellConfig::new(3, 4).init(&device);
    let gru = GruConfig::new(3, 4, true).init(&device);
    assert_eq!([projected.lstm.d_input(), projected.d_projection()], [3, 2]);
    assert_eq!([slstm.d_input(), slstm.d_output()], [3, 4]);
    assert_eq!([gru.cell.d_input(), gru.cell.d_hidden()], [3, 4]);
    assert_eq!(projected.zero_state(2, &device).hidden.dims(), [2, 2]);
    assert!(stack.to_string().contains("params: "), "{stack}");
    assert!(gru.to_string().contains("params: "), "{gru}");
    let drawn = [drawn(&stack), drawn(&projected), drawn(&slstm), drawn(&gru)];
    assert_eq!(drawn, [0; 4]);
}

#[test]
fn what_is_loaded_is_not_drawn() {
    let (_turn, device) = seeded(15);
    let config = LstmConfig::new(3, 4, true);
    let saved = config.init(&device);
    let input = Tensor::<3>::ones([2, 5, 3], &device);
    let outputs = |lstm: &Lstm| values(lstm.forward(input.clone(), None).0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lstm.bpk");
    saved
        .save_into(&mut BurnpackStore::from_file(&path))
        .unwrap();
    let of_burn = directory.path().join("burn.bpk");
    burn::nn::Lstm::from(saved.clone())
        .save_into(&mut BurnpackStore::from_file(&of_burn))
        .unwrap();
    let mut weights = Weights::new();
    let (pytorch, onnx) = (PyTorchNames::new("rnn"), OnnxNames::default());
    saved.to_pytorch(&mut weights, &pytorch).unwrap();
    saved.to_keras(&mut weights, "keras").unwrap();
    saved.to_onnx(&mut weights, &onnx).unwrap();

    type Load<'a> = &'a dyn Fn(Lstm) -> Lstm;
    let loads: [(&str, Load); 6] = [
        ("record", &|lstm| {
            lstm.load_record(saved.clone().into_record())
        }),
        ("file", &|mut lstm| {
            lstm.load_from(&mut BurnpackStore::from_file(&path))
                .unwrap();
            lstm
        }),
        ("burn::nn", &|mut lstm| {
            load_burn_nn(&mut lstm, &mut BurnpackStore::from_file(&of_burn)).unwrap();
            lstm
        }),
        ("PyTorch", &|lstm| {
            lstm.with_pytorch(&weights, &pytorch).unwrap()
        }),
        ("Keras", &|lstm| lstm.with_keras(&weights, "keras").unwrap()),
        ("ONNX", &|lstm| lstm.with_onnx(&weights, &onnx).unwrap()),
    ];
    for (from, load) in loads {
        for device in [device.clone(), device.clone().autodiff()] {
            let fresh = config.init(&device);
            let loaded = load(fresh.clone());
            assert_eq!(drawn(&fresh), 0, "{from}");
            assert_eq!(drawn(&loaded), 3, "{from}");
            assert_eq!(outputs(&loaded), outputs(&saved), "{from}");
            let weight = loaded.cell.recurrent_weight;
            assert_eq!(
                weight.val().is_require_grad(),
                device.is_autodiff(),
                "{from}"
            );
            let trained = fresh.cell.recurrent_weight.train();
            assert!(trained.val().is_require_grad(), "{from}");
        }
    }
}

/// Burn draws under a lock; a thread that waited for rayon there could be given a task that waits for the lock.
#[test]
fn weights_can_be_first_used_inside_tasks_of_rayon() {
    let (_turn, device) = seeded(16);
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build();
        let pool = pool.unwrap();
        let input = Tensor::<3>::ones([8, 6, 16], &device);
        for _ in 0..10 {
            let lstm = LstmConfig::new(16, 150, true).init(&device);
            let run = |_| values(lstm.forward(input.clone(), None).0);
            let outputs: Vec<_> = pool.install(|| (0..32).into_par_iter().map(run).collect());
            assert!(outputs.iter().all(|output| *output == outputs[0]));
        }
        done.send(()).unwrap();
    });
    let waited = wait.recv_timeout(Duration::from_secs(120));
    waited.expect("no deadlock, and the same outputs in all tasks");
}
