//! Every cell with every option, forward and backward, with sizes at the edges of blocks and vectors, in every type and
//! instruction set. What comes out is compared with the reference loop elsewhere (`tests/fused`); here Miri and the
//! sanitizers look at how memory is used, a second run must give the same bits, and in float64 the gradients are
//! those of the outputs, by central differences.

use super::cores::Taken;
use super::team::Plan;
use super::{
    Cell, Element, Number, Recurrence, Sequence, Simd, Sizes, Upstream, Wanted, Weights, cell,
};
use crate::{CellKind, Gate, GruKind, LstmKind, Nonlinearity, RnnKind, SLstmKind, Truncation};
use half::{bf16, f16};

/// Whether to run a few cases only: under Miri, and where the environment says `FEW`.
fn few() -> bool {
    cfg!(miri) || std::env::var_os("FEW").is_some()
}

fn kinds() -> Vec<CellKind> {
    let clip = Some(0.4.into());
    let hard = Nonlinearity::HardSigmoid {
        alpha: 0.2.into(),
        beta: 0.5.into(),
    };
    let lstm = |coupled, peepholes| LstmKind {
        gate: hard,
        candidate: Nonlinearity::Softsign,
        shown: Nonlinearity::Gelu,
        clip,
        clip_sums: clip,
        coupled,
        open: (!coupled).then_some(Gate::Output),
        peepholes,
    };
    let rnn = |activation, clip| RnnKind {
        activation,
        clip,
        clip_sums: clip,
    };
    let gru = GruKind {
        gate: hard,
        candidate: Nonlinearity::Relu,
        clip,
        clip_sums: clip,
        ..GruKind::USUAL
    };
    let mut kinds = vec![
        CellKind::Lstm(LstmKind::USUAL),
        CellKind::Gru(GruKind::USUAL),
        CellKind::Gru(gru),
        CellKind::Gru(GruKind {
            reset_first: true,
            ..gru
        }),
        CellKind::Rnn(rnn(Nonlinearity::Tanh, None)),
        CellKind::Rnn(rnn(Nonlinearity::Relu, None)),
        CellKind::Rnn(rnn(Nonlinearity::Mish, clip)),
    ];
    for [a, b] in [[false, false], [false, true], [true, false], [true, true]] {
        kinds.push(CellKind::Lstm(lstm(a, b)));
    }
    for exponential_forget in [false, true] {
        kinds.push(CellKind::SLstm(SLstmKind { exponential_forget }));
    }
    // The usual functions among the options, too.
    kinds.push(CellKind::Lstm(LstmKind {
        clip,
        ..LstmKind::USUAL
    }));
    kinds
}

/// Numbers from -0.5 to 0.5, the same each time.
struct Numbers(u32);

impl Numbers {
    fn draw<N: Number>(&mut self, count: usize) -> Vec<N> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            N::of(f64::from(self.0) / f64::from(u32::MAX) - 0.5)
        };
        (0..count).map(|_| next()).collect()
    }
}

/// All that a recurrence reads, and the gradients of what it gives.
#[derive(Clone)]
pub(super) struct Given<E: Element> {
    kind: CellKind,
    sizes: Sizes,
    simd: Simd,
    /// `x`, `W`, `b`, `R`
    elements: [Vec<E>; 4],
    /// `h`, the other states, peepholes
    wide: [Vec<E::Number>; 3],
    mask: Vec<E::Number>,
    change: Option<Vec<E::Number>>,
    lengths: Option<Vec<usize>>,
    truncation: Option<Truncation>,
    grad_output: Vec<E>,
    grad_states: [Vec<E::Number>; 2],
    wanted: Wanted,
}

fn sequence<T>(numbers: &[T], time: usize, features: usize) -> Sequence<'_, T> {
    Sequence {
        numbers,
        row: time * features,
        step: features,
    }
}

impl<E: Element> Given<E> {
    /// Of random numbers, the options by bits.
    pub fn draw(kind: CellKind, sizes: Sizes, options: usize, simd: Simd) -> Self {
        let option = |k: usize| options >> k & 1 == 1;
        let Sizes {
            batch,
            time,
            input,
            hidden,
            ..
        } = sizes;
        let spec = kind.spec();
        let mut numbers = Numbers(1);
        let elements = [
            batch * time * input,
            input * spec.input_gates.len() * hidden,
            spec.sums() * hidden,
            hidden * spec.recurrent_width() * hidden,
        ];
        let elements = elements.map(|count| E::rounded(simd, numbers.draw(count)));
        let grad_output = E::rounded(simd, numbers.draw(batch * time * hidden));
        let mut wide = |count| numbers.draw::<E::Number>(count);
        let states = [batch * hidden, batch * spec.memory * hidden];
        let [h, c, of_h, of_c] = [states[0], states[1], states[0], states[1]].map(&mut wide);
        // (An sLSTM divides by one of its states.)
        let c = c
            .into_iter()
            .map(|n| E::Number::of(n.into() + 1.0))
            .collect();
        let masks = match (option(0), option(6) && spec.second.is_none()) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => spec.recurrent_gates.len(),
        };
        let lengths = (0..batch).map(|row| 1 + (row * 7 + 2) % time).collect();
        Self {
            kind,
            sizes,
            simd,
            elements,
            wide: [h, c, wide(spec.peepholes * hidden)],
            mask: wide(batch * hidden * masks),
            change: option(1).then(|| wide(batch * time * (1 + spec.memory) * hidden)),
            lengths: option(2).then_some(lengths),
            truncation: option(5).then_some(Truncation {
                steps: 2,
                before: 1,
            }),
            grad_output,
            grad_states: [of_h, of_c],
            wanted: Wanted {
                input: option(3),
                weights: option(4),
            },
        }
    }

    fn recurrence<'a>(&'a self, cell: &'a dyn Cell<E::Number>) -> Recurrence<'a, E> {
        let Sizes {
            time,
            input,
            hidden,
            ..
        } = self.sizes;
        let spec = self.kind.spec();
        let [x, w, b, r] = &self.elements;
        let [h, c, peepholes] = &self.wide;
        let change = self.change.as_ref();
        Recurrence {
            cell,
            spec,
            sizes: self.sizes,
            input: sequence(x, time, input),
            weights: Weights {
                input: w,
                bias: b,
                recurrent: r,
            },
            hidden: h,
            memory: c,
            peepholes,
            mask: &self.mask,
            change: change.map(|change| sequence(change, time, (1 + spec.memory) * hidden)),
            lengths: self.lengths.as_deref(),
            truncation: self.truncation,
            simd: self.simd,
            threads: 2,
        }
    }

    /// Outputs and last states, and the gradients with respect to `elements` and `wide`; by plans for forward and backward
    /// and on so many threads, if given.
    fn run(&self, planned: Option<(&[Plan; 2], usize)>) -> [Vec<E::Number>; 10] {
        let cell = cell(self.kind);
        let recurrence = self.recurrence(&*cell);
        let Sizes { time, hidden, .. } = self.sizes;
        let [of_h, of_c] = &self.grad_states;
        let upstream = Upstream {
            output: Some(sequence(&self.grad_output, time, hidden)),
            hidden: Some(of_h),
            memory: (!of_c.is_empty()).then_some(of_c),
        };
        let forward = match planned {
            Some(([plan, _], threads)) => {
                recurrence.forward_as(plan.clone(), Taken::exactly(threads), true)
            }
            None => recurrence.forward(true),
        };
        let (output, saved) = (sequence(&forward.output, time, hidden), &forward.saved);
        let gradients = match planned {
            Some(([_, plan], threads)) => {
                let (plan, taken) = (plan.clone(), Taken::exactly(threads));
                recurrence.backward_as(plan, taken, upstream, output, saved, self.wanted)
            }
            None => recurrence.backward(upstream, output, saved, self.wanted),
        };
        let read = |elements: Vec<E>| {
            let mut numbers = vec![E::Number::of(0.0); elements.len()];
            E::read(self.simd, &elements, &mut numbers);
            numbers
        };
        [
            read(forward.output),
            forward.hidden,
            forward.memory,
            read(gradients.input),
            read(gradients.weights.input),
            read(gradients.weights.bias),
            read(gradients.weights.recurrent),
            gradients.hidden,
            gradients.memory,
            gradients.peepholes,
        ]
    }

    pub fn bits(&self, planned: Option<(&[Plan; 2], usize)>) -> Vec<u64> {
        let all = self.run(planned).concat().into_iter();
        let all = all.map(|number| -> f64 { number.into() });
        all.map(f64::to_bits).collect()
    }
}

impl Given<f64> {
    /// What the gradients are of.
    fn loss(&self) -> f64 {
        let cell = cell(self.kind);
        let forward = self.recurrence(&*cell).forward(false);
        let [of_h, of_c] = &self.grad_states;
        let seen = [
            (&forward.output, &self.grad_output),
            (&forward.hidden, of_h),
            (&forward.memory, of_c),
        ];
        let seen = seen.into_iter().flat_map(|(y, of)| y.iter().zip(of));
        seen.map(|(y, of)| y * of).sum()
    }
}

/// Compares the gradients of a few numbers of each kind that goes in with central differences.
fn differences(kind: CellKind, sizes: Sizes, options: usize, simd: Simd) {
    const STEPS: [f64; 2] = [1e-5, 1e-6];
    let given = Given::<f64>::draw(kind, sizes, options, simd);
    let results = given.run(None);
    for which in 0..7 {
        let gradients = &results[3 + which];
        for at in (0..gradients.len()).step_by(gradients.len() / 5 + 1) {
            let loss_at = |by: f64| {
                let mut moved = given.clone();
                match which {
                    ..4 => moved.elements[which][at] += by,
                    _ => moved.wide[which - 4][at] += by,
                }
                moved.loss()
            };
            // (A corner may lie within a step, not within one of another size as well.)
            let differences = STEPS.map(|step| (loss_at(step) - loss_at(-step)) / (2.0 * step));
            let close = |want: &f64| (gradients[at] - want).abs() <= 1e-6 * want.abs().max(1.0);
            assert!(
                differences.iter().any(close),
                "{kind:?}, {sizes:?}, {options:b}, {simd:?}, {which}[{at}]: {}, not {differences:?}",
                gradients[at]
            );
        }
    }
}

#[test]
fn gradients_are_those_of_the_outputs() {
    let shapes: &[[usize; 4]] = match few() {
        true => &[[2, 3, 2, 5]],
        false => &[[2, 1, 3, 5], [2, 3, 2, 5], [3, 12, 2, 18]],
    };
    for simd in Simd::available() {
        for kind in kinds() {
            for (k, [batch, time, input, hidden]) in shapes.iter().copied().enumerate() {
                for options in 0..9 {
                    if few() && options % 3 != 0 {
                        continue;
                    }
                    // The last with a mask for each gate.
                    let options = if options == 8 { 0b100_0101 } else { options };
                    let sizes = Sizes {
                        batch,
                        time,
                        input,
                        hidden,
                        reverse: (k + options) % 2 == 1,
                    };
                    differences(kind, sizes, options | 24, simd);
                }
            }
        }
    }
}

/// Each in a plain RNN. (Their values are compared with Burn's in the library's tests, `family`.)
#[test]
fn gradients_of_every_nonlinearity() {
    let (alpha, beta) = (0.3.into(), 0.7.into());
    let (lambda, bias) = (alpha, 0.1.into());
    for activation in [
        Nonlinearity::Identity,
        Nonlinearity::Tanh,
        Nonlinearity::Sigmoid,
        Nonlinearity::Relu,
        Nonlinearity::Relu6,
        Nonlinearity::LeakyRelu {
            negative_slope: alpha,
        },
        Nonlinearity::ThresholdedRelu { alpha },
        Nonlinearity::Elu { alpha },
        Nonlinearity::Celu { alpha },
        Nonlinearity::Selu,
        Nonlinearity::Gelu,
        Nonlinearity::GeluApproximate,
        Nonlinearity::Silu,
        Nonlinearity::HardSwish,
        Nonlinearity::Mish,
        Nonlinearity::Softplus {
            beta,
            threshold: alpha,
        },
        Nonlinearity::Softsign,
        Nonlinearity::LogSigmoid,
        Nonlinearity::Exponential,
        Nonlinearity::HardSigmoid { alpha, beta },
        Nonlinearity::HardTanh {
            min: (-0.3).into(),
            max: beta,
        },
        Nonlinearity::Affine { alpha, beta },
        Nonlinearity::ScaledTanh { alpha, beta },
        Nonlinearity::HardShrink { lambda },
        Nonlinearity::SoftShrink { lambda },
        Nonlinearity::Shrink { lambda, bias },
    ] {
        let kind = CellKind::Rnn(RnnKind {
            activation,
            clip: None,
            clip_sums: None,
        });
        let sizes = Sizes {
            batch: 3,
            time: 2,
            input: 2,
            hidden: 9,
            reverse: false,
        };
        for simd in Simd::available() {
            differences(kind, sizes, 24, simd);
        }
    }
}

fn check<E: Element>() {
    let shapes: &[[usize; 4]] = match few() {
        true => &[[2, 3, 2, 5], [2, 5, 1, 17]],
        false => &[
            [1, 1, 1, 1],
            [3, 1, 5, 33],
            [2, 3, 2, 5],
            [7, 5, 3, 16],
            [5, 9, 4, 17],
            [9, 30, 2, 40],
        ],
    };
    for simd in Simd::available() {
        for (case, kind) in kinds().into_iter().enumerate() {
            for (k, [batch, time, input, hidden]) in shapes.iter().copied().enumerate() {
                let rounds = if few() { 1 } else { 4 };
                for round in 0..rounds {
                    let options = 5 * case + 3 * k + 11 * round + 24;
                    let sizes = Sizes {
                        batch,
                        time,
                        input,
                        hidden,
                        reverse: options % 2 == 1,
                    };
                    let what = format!("{kind:?}, {sizes:?}, {options:b}, {simd:?}");
                    let given = Given::<E>::draw(kind, sizes, options, simd);
                    let first = given.bits(None);
                    let finite = |bits: &u64| f64::from_bits(*bits).is_finite();
                    assert!(first.iter().all(finite), "{what}");
                    assert!(first.iter().any(|bits| *bits != 0), "{what}");
                    assert!(first == given.bits(None), "{what}");
                }
            }
        }
    }
}

#[test]
fn float32() {
    check::<f32>();
}

#[test]
fn float64() {
    check::<f64>();
}

#[test]
fn float16() {
    check::<f16>();
}

#[test]
fn bfloat16() {
    check::<bf16>();
}
