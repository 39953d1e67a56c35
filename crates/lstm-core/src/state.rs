//! The state of any recurrent cell: access to its tensors, and records of it for serde.

use crate::cell::{LstmpState, SLstmState};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use core::fmt;
use serde::{Deserialize, Serialize};

/// What a cell carries from one step to the next: tensors `[B, ·]`, the first of which is the output.
///
/// A cell whose state is its output alone can use a plain tensor; a pair of tensors, [`RnnState`] and
/// [`LstmState`] are states as well. A state of your own needs only [`map`](Self::map):
///
/// ```
/// # use burn::tensor::Tensor;
/// use lstm_core::RecurrentState;
///
/// struct Fast { hidden: Tensor<2>, trace: Tensor<2> }
///
/// impl RecurrentState for Fast {
///     fn map(&self, mut f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
///         Fast { hidden: f(self.hidden.clone()), trace: f(self.trace.clone()) }
///     }
/// }
/// ```
///
/// `D` is 2 for the state of a cell; the states of stacks and bidirectional layers have 3 dimensions.
pub trait RecurrentState<const D: usize = 2>: Sized {
    /// Whether the tensors are all there is to it.
    #[doc(hidden)]
    const IS_WHOLE: bool = true;

    /// The state with each tensor replaced by `f` of it, always in the same order, the output first.
    ///
    /// Anything else in a state, such as a dropout mask, is unchanged.
    fn map(&self, f: impl FnMut(Tensor<D>) -> Tensor<D>) -> Self;

    /// The tensors, the output first.
    fn tensors(&self) -> Vec<Tensor<D>> {
        let mut tensors = vec![];
        self.map(|tensor| {
            tensors.push(tensor.clone());
            tensor
        });
        tensors
    }

    /// The cell's output after a step, `[B, H]`: the first tensor.
    fn output(&self) -> Tensor<D> {
        let first = self.tensors().into_iter().next();
        first.expect("a state has an output")
    }

    /// The state with each tensor replaced by `f` of it and of the corresponding tensor of `other`.
    fn zip(&self, other: &Self, mut f: impl FnMut(Tensor<D>, Tensor<D>) -> Tensor<D>) -> Self {
        let mut others = other.tensors().into_iter();
        self.map(|tensor| f(tensor, others.next().expect("a state of the same kind")))
    }

    /// The same state, detached: no gradient flows back through it.
    fn detach(&self) -> Self {
        self.map(Tensor::detach)
    }

    /// The rows of `other` where `rows`, `[B, 1]`, is true, and those of this state elsewhere.
    fn select(&self, rows: Tensor<D, Bool>, other: &Self) -> Self {
        self.zip(other, |this, other| {
            let shape = this.dims();
            this.mask_where(rows.clone().expand(shape), other)
        })
    }
}

/// The shapes of a state's tensors.
pub(crate) fn shapes<const D: usize>(state: &impl RecurrentState<D>) -> Vec<[usize; D]> {
    state.tensors().iter().map(Tensor::dims).collect()
}

impl<const D: usize> RecurrentState<D> for Tensor<D> {
    fn map(&self, mut f: impl FnMut(Tensor<D>) -> Tensor<D>) -> Self {
        f(self.clone())
    }
}

impl<const D: usize> RecurrentState<D> for (Tensor<D>, Tensor<D>) {
    fn map(&self, mut f: impl FnMut(Tensor<D>) -> Tensor<D>) -> Self {
        (f(self.0.clone()), f(self.1.clone()))
    }
}

/// A state that can be stacked with those of other cells: of the layers of a stack, of two directions.
///
/// A state of your own needs a type whose tensors have one dimension more:
///
/// ```
/// # use burn::tensor::Tensor;
/// # use lstm_core::{RecurrentState, StackedState};
/// # struct Fast<const D: usize = 2> { hidden: Tensor<D>, trace: Tensor<D> }
/// # impl<const D: usize> RecurrentState<D> for Fast<D> {
/// #     fn map(&self, mut f: impl FnMut(Tensor<D>) -> Tensor<D>) -> Self {
/// #         Fast { hidden: f(self.hidden.clone()), trace: f(self.trace.clone()) }
/// #     }
/// # }
/// impl StackedState for Fast {
///     type Stacked = Fast<3>;
///
///     fn stacked(mut tensors: impl Iterator<Item = Tensor<3>>) -> Fast<3> {
///         let mut next = || tensors.next().unwrap();
///         Fast { hidden: next(), trace: next() }
///     }
/// }
/// ```
pub trait StackedState: RecurrentState {
    /// The stacked states of several cells.
    type Stacked: RecurrentState<3>;

    /// Makes it from its tensors, `[L·D, B, ·]`, in the order of [`RecurrentState::tensors`].
    fn stacked(tensors: impl Iterator<Item = Tensor<3>>) -> Self::Stacked;
}

/// The tensors of a state in their order.
fn next(tensors: &mut impl Iterator<Item = Tensor<3>>) -> Tensor<3> {
    tensors.next().expect("as many tensors as the state has")
}

impl StackedState for Tensor<2> {
    type Stacked = Tensor<3>;

    fn stacked(mut tensors: impl Iterator<Item = Tensor<3>>) -> Tensor<3> {
        next(&mut tensors)
    }
}

impl StackedState for (Tensor<2>, Tensor<2>) {
    type Stacked = (Tensor<3>, Tensor<3>);

    fn stacked(mut tensors: impl Iterator<Item = Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        (next(&mut tensors), next(&mut tensors))
    }
}

/// Implements both traits for structs of tensors, the output first.
macro_rules! states {
    ($($state:ident { $($tensor:ident),+ })+) => {$(
        impl<const D: usize> RecurrentState<D> for $state<D> {
            // (`LstmState::new` asserts equal shapes in debug builds, before the checks here could name the wrong one.)
            fn map(&self, mut f: impl FnMut(Tensor<D>) -> Tensor<D>) -> Self {
                $state { $($tensor: f(self.$tensor.clone())),+ }
            }
        }

        impl StackedState for $state<2> {
            type Stacked = $state<3>;

            fn stacked(mut tensors: impl Iterator<Item = Tensor<3>>) -> $state<3> {
                $state { $($tensor: next(&mut tensors)),+ }
            }
        }
    )+};
}

states! {
    RnnState { hidden }
    LstmState { hidden, cell }
    LstmpState { hidden, cell }
    SLstmState { hidden, cell, normaliser, stabiliser }
}

/// A state as plain numbers, which serde can save and restore.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{LstmConfig, StateRecord};
///
/// let device = Device::flex();
/// let lstm = LstmConfig::new(3, 5, true).init(&device);
/// let (_, state) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
///
/// let text = serde_json::to_string(&StateRecord::of(&state))?;
/// let record: StateRecord = serde_json::from_str(&text)?;
/// let restored = record.restore(&state)?; // a state of the same kind and shape, on its device
/// assert_eq!(restored.hidden.into_data(), state.hidden.into_data());
///
/// // In another process the layer itself has a state of that kind and shape:
/// let restored = record.restore(&lstm.initial_state(2, &device))?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// For a stack of LSTMs, or both directions, `LstmState::<3>::initial([layers * directions, rows, d_hidden], &device)` is one.
/// The numbers are float32: a float64 state is rounded, one in float16 or bfloat16 is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    /// The name of the state's type; empty in records made before this field was added.
    #[serde(default)]
    pub kind: String,
    /// The tensors of the state, in the order of [`RecurrentState::tensors`]: `h` before `c`.
    pub tensors: Vec<TensorRecord>,
}

/// One tensor of a [`StateRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorRecord {
    /// The sizes of all dimensions.
    pub shape: Vec<usize>,
    /// The numbers in row-major order. In text formats, infinities and NaN, which JSON doesn't have, are
    /// `"inf"`, `"-inf"` and `"NaN"`.
    #[serde(with = "numbers")]
    pub values: Vec<f32>,
}

/// Numbers for serde, infinities and NaN included.
mod numbers {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f32),
        Other(String),
    }

    pub fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return values.serialize(serializer);
        }
        serializer.collect_seq(values.iter().map(|value| match value.is_finite() {
            true => Number::Finite(*value),
            false => Number::Other(value.to_string()),
        }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        let values = Vec::<Number>::deserialize(deserializer)?.into_iter();
        let values = values.map(|value| match value {
            Number::Finite(value) => Ok(value),
            Number::Other(text) => text.parse().map_err(Error::custom),
        });
        values.collect()
    }
}

impl StateRecord {
    /// The record of a state.
    pub fn of<const D: usize, S: RecurrentState<D>>(state: &S) -> Self {
        let record = |tensor: Tensor<D>| TensorRecord {
            shape: tensor.dims().to_vec(),
            values: tensor.into_data().iter::<f32>().collect(),
        };
        Self {
            kind: kind_of::<S>(),
            tensors: state.tensors().into_iter().map(record).collect(),
        }
    }

    /// The recorded state, of the kind and shape of `like` and on its device and in its data type.
    ///
    /// # Errors
    ///
    /// If the record is of another kind of state, of another number of tensors, or of other shapes: other rows or
    /// units or, for a stack, other layers or directions.
    pub fn restore<const D: usize, S: RecurrentState<D>>(&self, like: &S) -> Result<S, StateError> {
        let expected = kind_of::<S>();
        if !self.kind.is_empty() && self.kind != expected {
            let got = self.kind.clone();
            return Err(StateError::Kind { expected, got });
        }
        let expected = like.tensors();
        if expected.len() != self.tensors.len() {
            return Err(StateError::Count {
                expected: expected.len(),
                got: self.tensors.len(),
            });
        }
        for (index, (like, record)) in expected.iter().zip(&self.tensors).enumerate() {
            record.check(index, &like.dims())?;
        }
        let mut records = self.tensors.iter();
        Ok(like.map(|like| match records.next() {
            Some(record) => record.to_tensor(&like.device(), like.dtype()),
            None => like, // there are as many as in the state
        }))
    }
}

/// The name of a state's type, without path and parameters; for a pair, that of its first tensor.
fn kind_of<S>() -> String {
    let name = core::any::type_name::<S>();
    let name = name.split('<').next().unwrap_or(name);
    let name = name.rsplit("::").next().unwrap_or(name);
    name.trim_start_matches('(').to_string()
}

impl TensorRecord {
    fn check(&self, index: usize, expected: &[usize]) -> Result<(), StateError> {
        if self.shape != expected {
            return Err(StateError::Shape {
                index,
                expected: expected.to_vec(),
                got: self.shape.clone(),
            });
        }
        let (expected, got) = (expected.iter().product(), self.values.len());
        if expected != got {
            return Err(StateError::Values {
                index,
                expected,
                got,
            });
        }
        Ok(())
    }

    fn to_tensor<const D: usize>(&self, device: &Device, dtype: DType) -> Tensor<D> {
        let data = TensorData::new(self.values.clone(), self.shape.clone());
        Tensor::from_data(data, (device, dtype))
    }
}

/// Why a [`StateRecord`] can't be restored to a state of the given kind and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// Another kind of state.
    Kind {
        /// The type of the state.
        expected: String,
        /// The type that was recorded.
        got: String,
    },
    /// Another number of tensors.
    Count {
        /// Tensors of the state.
        expected: usize,
        /// Tensors of the record.
        got: usize,
    },
    /// A tensor of another shape.
    Shape {
        /// Which one, counted from 0.
        index: usize,
        /// The shape in the state.
        expected: Vec<usize>,
        /// The shape in the record.
        got: Vec<usize>,
    },
    /// Another number of values than the shape requires.
    Values {
        /// Which tensor, counted from 0.
        index: usize,
        /// Numbers that the shape requires.
        expected: usize,
        /// Numbers in the record.
        got: usize,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { expected, got } => {
                write!(f, "state record: expected a {expected}, got a {got}")
            }
            Self::Count { expected, got } => {
                write!(f, "state record: expected {expected} tensors, got {got}")
            }
            Self::Shape {
                index,
                expected,
                got,
            } => {
                // `[B, ·]`, or `[L·D, B, ·]`
                let names = ["units", "rows", "layers times directions"];
                let sizes = expected.iter().zip(got).rev().zip(names);
                let other: Vec<_> = sizes
                    .filter(|((expected, got), _)| expected != got)
                    .map(|((expected, got), name)| format!("{got} {name} for {expected}"))
                    .collect();
                write!(
                    f,
                    "state record: tensor {index} must be {expected:?}, got {got:?}: {}",
                    match expected.len() == got.len() {
                        true => other.join(", "),
                        false => "another number of dimensions".to_string(),
                    }
                )
            }
            Self::Values {
                index,
                expected,
                got,
            } => write!(
                f,
                "state record: tensor {index} must hold {expected} numbers, got {got}"
            ),
        }
    }
}

impl std::error::Error for StateError {}
