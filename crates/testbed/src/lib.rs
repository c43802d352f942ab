//! The whole system in process, for tests: an engine that keeps its state in memory but behaves like the real one,
//! a clock that is stepped by hand, randomness that repeats.

mod contract;
mod fake_engine;
mod far_facts;
mod far_lives;
mod invariants;
mod ledger_check;
mod poison_clock;
mod poison_waker;
mod seeded_entropy;
mod step_clock;
mod step_tasks;

pub use contract::{Subject, check_engine_contract};
pub use fake_engine::{FakeEngine, Fault, Op, Question, Shape, Trigger};
pub use far_facts::{FactsCall, FarFacts, Loss};
pub use far_lives::FarLives;
pub use invariants::{check_invariants, fold, whole_log};
pub use poison_clock::PoisonClock;
pub use poison_waker::wait_poisoned;
pub use seeded_entropy::SeededEntropy;
pub use step_clock::StepClock;
pub use step_tasks::tasks;
