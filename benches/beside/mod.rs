//! Two things measured beside each other, in turns, so that whatever slows the machine down slows down both.
//!
//! Each row is what something costs and what its yardstick costs, in one table with the target. Of all rounds the fastest counts: the one
//! that nobody interrupted. What a row adds to its yardstick is also told as the idle machine would tell it on which the targets were set,
//! where the bare router took [`IDLE`] nanoseconds; that is an estimate, the ratio is not.

use std::time::Duration;

/// What the bare router took on the machine on which the targets were set.
const IDLE: f64 = 920.0;
const ROUNDS: usize = 150;
const WARM_UP: usize = 5;

/// Runs so many of something and says how long that took, whatever goes before or after left out.
pub(crate) type Run<'a> = Box<dyn FnMut(usize) -> Duration + 'a>;

/// One side of a row.
pub(crate) struct Side<'a> {
    name: String,
    run: Run<'a>,
}

pub(crate) fn side<'a>(
    name: impl Into<String>,
    run: impl FnMut(usize) -> Duration + 'a,
) -> Side<'a> {
    Side {
        name: name.into(),
        run: Box::new(run),
    }
}

/// What a row has to hold.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// So many nanoseconds more than the yardstick.
    Adds(f64),
    /// So many nanoseconds by itself.
    Takes(f64),
    /// So many times the yardstick.
    Times(f64),
    /// Told for comparison.
    None,
}

/// Prints rows as they are measured.
pub(crate) struct Table {
    only: Option<String>,
    per_round: usize,
    /// Whether the middle of the rounds counts, and not the fastest.
    takes_middle: bool,
    /// How much slower this machine is than the one of the targets.
    slowness: f64,
}

impl Table {
    /// A table of the rows whose id or name holds the first argument that is no option, as `cargo bench --bench stack -- P-1` gives it;
    /// `bare_router` is what every row is put in relation to.
    pub(crate) fn new(mut bare_router: Run<'_>) -> Self {
        let per_round = 200;
        // A process that has just begun runs slower than it will, sometimes for a second.
        for _ in 0..10 * ROUNDS {
            bare_router(per_round);
        }
        let fastest = (0..ROUNDS).map(|_| bare_router(per_round)).min();
        let slowness = nanoseconds(fastest.unwrap(), per_round) / IDLE;
        println!("The bare router takes {slowness:.2} times what it took on an idle machine.\n");
        println!("| id | what | ns | beside | ns | adds | adds, idle | times | target |");
        println!("|---|---|---:|---|---:|---:|---:|---:|---|");
        Self {
            only: std::env::args().skip(1).find(|arg| !arg.starts_with('-')),
            per_round,
            takes_middle: false,
            slowness,
        }
    }

    /// The same table, where the middle of the rounds counts: for single requests, of which the
    /// fastest is the one that was lucky.
    pub(crate) fn of_single_requests(&self) -> Self {
        Self {
            only: self.only.clone(),
            per_round: 1,
            takes_middle: true,
            slowness: self.slowness,
        }
    }

    /// How many go into one measurement; fewer for what takes long.
    pub(crate) fn per_round(mut self, count: usize) -> Self {
        self.per_round = count;
        self
    }

    pub(crate) fn row(&self, id: &str, target: Target, yardstick: Side<'_>, subject: Side<'_>) {
        let is_wanted = |only: &String| id.contains(only) || subject.name.contains(only);
        if !self.only.as_ref().is_none_or(is_wanted) {
            return;
        }
        let (mut beside, mut took) = (Vec::new(), Vec::new());
        let (mut of_yardstick, mut of_subject) = (yardstick.run, subject.run);
        for round in 0..WARM_UP + ROUNDS {
            let once = (of_yardstick(self.per_round), of_subject(self.per_round));
            if round >= WARM_UP {
                beside.push(once.0);
                took.push(once.1);
            }
        }
        let at = if self.takes_middle { ROUNDS / 2 } else { 0 };
        let [beside, took] = [beside, took].map(|mut times| {
            times.sort_unstable();
            nanoseconds(times.get(at).copied().unwrap_or_default(), self.per_round)
        });
        let (adds, times) = (took - beside, took / beside);
        let idle = adds / self.slowness;
        let target = match target {
            Target::Adds(most) => told(idle, most, &format!("adds {most}")),
            Target::Takes(most) => told(took / self.slowness, most, &format!("takes {most}")),
            Target::Times(most) => told(times, most, &format!("{most} times")),
            Target::None => "–".to_owned(),
        };
        println!(
            "| {id} | {} | {took:.0} | {} | {beside:.0} | {adds:.0} | {idle:.0} | {times:.2} | {target} |",
            subject.name, yardstick.name,
        );
    }
}

fn told(seen: f64, most: f64, target: &str) -> String {
    let verdict = if seen <= most { "met" } else { "**missed**" };
    format!("{target}: {verdict}")
}

fn nanoseconds(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}
