//! Truncated backpropagation through time over a long stream.

use crate::state::RecurrentState;
use burn::tensor::kind::Basic;
use burn::tensor::{Float, Tensor};

/// Windows of a long stream, `[B, T, I]`, with the state carried from each to the next, detached.
///
/// A tensor of integers `[B, T]`, such as symbols, works as well: any kind of tensor whose second dimension is time.
///
/// Gradients flow within a window only, and the weights can be updated after each.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use lstm_core::{LstmConfig, Windows};
///
/// let device = Device::flex().autodiff();
/// let mut lstm = LstmConfig::new(3, 5, true).init(&device);
/// let mut optimizer = SgdConfig::new().init();
/// let stream = Tensor::ones([2, 1000, 3], &device);
///
/// let mut windows = Windows::new(stream, 100, None);
/// while let Some((window, state)) = windows.next() {
///     let (output, state) = lstm.forward(window, state); // [2, 100, 5]
///     windows.carry(state);
///     let gradients = GradientsParams::from_grads(output.mean().backward(), &lstm);
///     lstm = optimizer.step(0.1, lstm, gradients);
/// }
/// # assert_eq!(windows.into_state().unwrap().hidden.dims(), [2, 5]);
/// ```
///
/// (A layer's [`truncation`](crate::Recurrent::with_truncation) cuts the gradients of one call in the same places, but
/// the graph of the whole sequence stays alive until the backward pass.)
#[derive(Clone, Debug)]
pub struct Windows<S, const D: usize = 3, K: Basic = Float> {
    stream: Tensor<D, K>,
    steps: usize,
    read: usize,
    state: Option<S>,
}

impl<S, const D: usize, K: Basic> Windows<S, D, K> {
    /// Windows of `steps` steps, the last of which may be shorter, and the state before the first.
    ///
    /// # Panics
    ///
    /// If `steps` is 0.
    pub fn new(stream: Tensor<D, K>, steps: usize, state: Option<S>) -> Self {
        const { assert!(D >= 2, "a stream has rows and steps") }
        crate::shape::at_least_one("windows", "steps", steps);
        Self {
            stream,
            steps,
            read: 0,
            state,
        }
    }

    /// Passes the state after a window to the next one, which otherwise begins with the initial state.
    pub fn carry<const N: usize>(&mut self, state: S)
    where
        S: RecurrentState<N>,
    {
        self.state = Some(state.detach());
    }

    /// The state that was carried last: the one after the stream, once all windows are read.
    pub fn into_state(self) -> Option<S> {
        self.state
    }
}

impl<S, const D: usize, K: Basic> Iterator for Windows<S, D, K> {
    /// The window, and the state before it.
    type Item = (Tensor<D, K>, Option<S>);

    fn next(&mut self) -> Option<Self::Item> {
        let time = self.stream.dims()[1];
        let end = time.min(self.read + self.steps);
        (self.read < end).then(|| {
            let window = self.stream.clone().slice_dim(1, self.read..end);
            self.read = end;
            (window, self.state.take())
        })
    }
}
