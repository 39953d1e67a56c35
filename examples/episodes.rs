//! A policy with a memory learns to find its way: `cargo run --release --bin episodes`
//!
//! The task is a T-maze (Bakker 2001, *Reinforcement learning with long short-term memory*): a sign at the entrance
//! says whether to turn left or right at the far end of a corridor, where it can't be seen any more.
//!
//! Games act side by side, a step at a time. One that has ended begins anew, so that a row of what was played holds
//! several episodes. Learning reads such rows whole, tells the layer where episodes begin, and must find the same
//! probabilities as acting did.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clap::Parser;
use lstm_core::{Lstm, LstmConfig, LstmState, RecurrentState, clip_global_norm};

/// Learns to turn where a sign said, a corridor ago.
#[derive(Parser)]
struct Args {
    /// Rounds of acting and learning.
    #[arg(long, default_value_t = 400)]
    rounds: usize,
    /// Steps of the corridor.
    #[arg(long, default_value_t = 10)]
    corridor: usize,
    /// Games side by side.
    #[arg(long, default_value_t = 64, value_parser = size)]
    games: usize,
    /// Steps of a round.
    #[arg(long, default_value_t = 40, value_parser = size)]
    steps: usize,
    #[arg(long, default_value_t = 32, value_parser = size)]
    hidden: usize,
}

/// A number from 1 on.
fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| *size >= 1);
    size.ok_or_else(|| "expected a whole number of at least 1".to_string())
}

// -- The game ---------------------------------------------------------------------------------------------

/// What is seen: the sign, and whether it is the junction.
const SEEN: usize = 2;
/// Go on, turn left, turn right.
const ACTIONS: usize = 3;

#[derive(Clone)]
struct Maze {
    left: bool,
    position: usize,
}

impl Maze {
    fn new(random: &mut u32) -> Self {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Self {
            left: *random >> 31 == 0,
            position: 0,
        }
    }

    fn seen(&self, corridor: usize) -> [f32; SEEN] {
        let sign = if self.left { -1.0 } else { 1.0 };
        let sign = if self.position == 0 { sign } else { 0.0 };
        [sign, (self.position == corridor) as u8 as f32]
    }

    /// Takes an action: what it earns, and whether that was the end.
    fn act(&mut self, action: i32, corridor: usize) -> (f32, bool) {
        match (action, self.position == corridor) {
            (0, false) => {
                self.position += 1;
                (0.0, false)
            }
            (0, true) | (_, false) => (-0.1, false), // a wall
            (turn, true) => (if (turn == 1) == self.left { 1.0 } else { -1.0 }, true),
        }
    }
}

// -- The policy -------------------------------------------------------------------------------------------

#[derive(Module, Debug)]
struct Policy {
    memory: Lstm,
    actions: Linear,
    /// How much is still to be earned.
    value: Linear,
}

/// What was played in a round: a row for each game.
struct Round {
    /// The state before the first step.
    before: LstmState<2>,
    /// `[B, T, SEEN]`
    seen: Tensor<3>,
    /// Which steps are the first ones of an episode, `[B, T]`.
    first: Tensor<2, Bool>,
    /// `[B, T, 1]`
    actions: Tensor<3, Int>,
    /// The logarithms of the probabilities with which they were chosen, `[B, T]`.
    chosen: Tensor<2>,
    earned: Vec<Vec<(f32, bool)>>,
    /// What the policy expects to be earned after the last step, `[B]`.
    expected: Vec<f32>,
}

/// Games, and what is carried from a round to the next.
struct Games {
    mazes: Vec<Maze>,
    /// Whether the next step is a game's first.
    begins: Vec<bool>,
    state: LstmState<2>,
    random: u32,
}

impl Games {
    /// What is seen now, which games begin, the memory's output, and its state after that.
    fn see(
        &self,
        policy: &Policy,
        corridor: usize,
        device: &Device,
    ) -> (Tensor<2>, Tensor<2, Bool>, Tensor<2>, LstmState<2>) {
        let games = self.mazes.len();
        let now = self.mazes.iter().flat_map(|maze| maze.seen(corridor));
        let now = TensorData::new(now.collect::<Vec<_>>(), [games, SEEN]);
        let now = Tensor::<2>::from_data(now, device);
        let begins = TensorData::new(self.begins.clone(), [games, 1]);
        let begins = Tensor::<2, Bool>::from_data(begins, device);

        // Where a game begins, nothing is remembered of the one before.
        let initial = policy.memory.initial_state(games, device);
        let state = self.state.select(begins.clone(), &initial);
        let (output, state) = policy.memory.step(now.clone(), Some(state));
        (now, begins, output, state)
    }

    /// Plays a round, a step at a time.
    fn play(&mut self, policy: &Policy, args: &Args, device: &Device) -> Round {
        let before = self.state.clone();
        let (mut seen, mut first, mut actions, mut chosen) = (vec![], vec![], vec![], vec![]);
        let mut earned = vec![vec![]; self.mazes.len()];
        for _ in 0..args.steps {
            let (now, begins, output, state) = self.see(policy, args.corridor, device);
            self.state = state;
            let scores = policy.actions.forward(output);
            let action = softmax(scores.clone(), 1).categorical(1);
            let logarithms = log_softmax(scores, 1).gather(1, action.clone());

            for (k, action) in action.to_data().iter::<i32>().enumerate() {
                let (earning, end) = self.mazes[k].act(action, args.corridor);
                earned[k].push((earning, end));
                self.begins[k] = end;
                if end {
                    self.mazes[k] = Maze::new(&mut self.random);
                }
            }
            seen.push(now);
            first.push(begins);
            actions.push(action);
            chosen.push(logarithms);
        }
        // The games go on after the round. (The next round takes this step itself, with weights that have learned.)
        let (_, _, output, _) = self.see(policy, args.corridor, device);
        let expected = policy.value.forward(output).into_data();
        Round {
            before,
            seen: Tensor::stack(seen, 1),
            first: Tensor::cat(first, 1),
            actions: Tensor::stack(actions, 1),
            chosen: Tensor::cat(chosen, 1),
            earned,
            expected: expected.iter::<f32>().collect(),
        }
    }
}

/// What a game earned from each step on; after the last step, unless that was an end, what is expected.
fn returns(earned: &[(f32, bool)], expected: f32) -> Vec<f32> {
    let mut later = expected;
    let mut returns = vec![0.0; earned.len()];
    for (sum, (earning, end)) in returns.iter_mut().zip(earned).rev() {
        later = earning + if *end { 0.0 } else { 0.97 * later };
        *sum = later;
    }
    returns
}

impl Policy {
    /// The loss of a round (advantage actor-critic, Mnih et al. 2016), and the largest difference between the
    /// logarithms of probabilities here and when acting.
    fn loss(&self, round: Round, device: &Device) -> (Tensor<1>, f32) {
        let before = Some(round.before);
        let (output, _) = self
            .memory
            .forward_with_resets(round.seen, before, round.first);
        let scores = self.actions.forward(output.clone());
        let values: Tensor<2> = self.value.forward(output).squeeze_dim(2);
        let logarithms = log_softmax(scores.clone(), 2);
        let chosen: Tensor<2> = logarithms.gather(2, round.actions).squeeze_dim(2);
        let difference = (chosen.clone().inner() - round.chosen).abs().max();

        let rows = round.earned.iter().zip(round.expected);
        let returns = rows.flat_map(|(earned, expected)| returns(earned, expected));
        let returns = TensorData::new(returns.collect(), values.dims());
        let advantage = Tensor::<2>::from_data(returns, device) - values;
        let entropy = -(softmax(scores.clone(), 2) * log_softmax(scores, 2))
            .sum_dim(2)
            .mean();
        let loss = -(chosen * advantage.clone().detach()).mean() + advantage.square().mean() * 0.5
            - entropy * 0.01;
        (loss, difference.into_scalar())
    }
}

fn main() {
    let args = Args::parse();
    let device = Device::flex();
    device.seed(1);
    let training = device.clone().autodiff();
    let mut policy = Policy {
        memory: LstmConfig::new(SEEN, args.hidden, true).init(&training),
        actions: LinearConfig::new(args.hidden, ACTIONS).init(&training),
        value: LinearConfig::new(args.hidden, 1).init(&training),
    };
    let mut random = 1;
    let mut games = Games {
        mazes: (0..args.games).map(|_| Maze::new(&mut random)).collect(),
        begins: vec![true; args.games],
        state: policy.valid().memory.initial_state(args.games, &device),
        random,
    };
    let mut optimizer = AdamConfig::new().init();
    let (mut right, mut ended, mut largest) = (0, 0, 0.0f32);
    for k in 1..=args.rounds {
        let round = games.play(&policy.valid(), &args, &device);
        for (earning, _) in round.earned.iter().flatten().filter(|(_, end)| *end) {
            ended += 1;
            right += i32::from(*earning > 0.0);
        }
        let (loss, difference) = policy.loss(round, &training);
        assert!(
            difference < 1e-5,
            "acting and learning differ by {difference:e}"
        );
        largest = largest.max(difference);
        let gradients = GradientsParams::from_grads(loss.backward(), &policy);
        let gradients = clip_global_norm(&policy, gradients, 0.5);
        policy = optimizer.step(0.003, policy, gradients);
        if k % args.rounds.div_ceil(10) == 0 || k == args.rounds {
            let share = 100.0 * right as f64 / f64::from(ended.max(1));
            println!("round {k:4}: {ended:5} episodes ended, {share:5.1} % with the right turn");
            (right, ended) = (0, 0);
        }
    }
    println!("acting and learning: logarithms of probabilities differ by at most {largest:e}");
}

#[cfg(test)]
mod tests {
    /// What is expected counts after the last step, and not beyond an end.
    #[test]
    fn returns() {
        let goes_on = [(0.0, false), (1.0, true), (-0.1, false), (0.0, false)];
        let returns = super::returns(&goes_on, 2.0);
        let last: f32 = 0.97 * 2.0;
        assert_eq!(returns, [0.97, 1.0, -0.1 + 0.97 * last, last]);
        assert_eq!(super::returns(&goes_on[..2], 2.0), returns[..2]);
    }
}
