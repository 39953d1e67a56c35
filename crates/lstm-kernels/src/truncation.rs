//! Where gradients don't pass from a step to the one before: truncated backpropagation through time.

/// The states are detached every so many steps; see `Recurrent::truncation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Steps between which gradients flow.
    pub steps: usize,
    /// Steps that were read before these, if they are a part of a sequence.
    pub before: usize,
}

impl Truncation {
    /// Whether no gradient passes from the step read as number `k` to the state before it.
    pub fn cuts(self, k: usize) -> bool {
        let read = self.before + k;
        read > 0 && read.is_multiple_of(self.steps)
    }
}
