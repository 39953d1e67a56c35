//! When the training pauses.

/// When the training pauses: to evaluate on the held-out data, and to write a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Updates at most.
    pub updates: usize,
    /// Updates between two evaluations; the last update is followed by one, too.
    pub eval_every: usize,
    /// Updates between two checkpoints; each evaluation is followed by one, too.
    pub checkpoint_every: usize,
}

impl Pauses {
    /// Whether there is an evaluation after so many updates.
    pub fn is_evaluation(&self, made: usize) -> bool {
        made > 0 && (made.is_multiple_of(self.eval_every) || made == self.updates)
    }

    /// The next pause, when so many updates are made.
    pub fn next_pause(&self, made: usize) -> usize {
        let next = |every: usize| (made / every + 1).saturating_mul(every);
        next(self.eval_every)
            .min(next(self.checkpoint_every))
            .min(self.updates)
    }

    /// The pauses that are left when so many updates are made.
    pub fn pauses_after(&self, made: usize) -> usize {
        let multiples = |every: usize| self.updates / every - made / every;
        let (evaluations, checkpoints) = (self.eval_every, self.checkpoint_every);
        let both = (evaluations / gcd(evaluations, checkpoints)).saturating_mul(checkpoints);
        let at_the_end = made < self.updates
            && !self.updates.is_multiple_of(evaluations)
            && !self.updates.is_multiple_of(checkpoints);
        multiples(evaluations) + multiples(checkpoints) - multiples(both) + usize::from(at_the_end)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}
