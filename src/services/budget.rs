//! What may be spent, and is not exceeded: a request leaves only if what was spent, what the requests in flight may cost at most,
//! and what it may cost at most, stay within the limits.

use crate::endpoint::{Limits, Prices};
pub use crate::ledger::Amount;
use crate::ledger::Ledger;
use crate::protocol::Usage;
use anyhow::Result;
use std::path::Path;

pub struct Budget {
    limits: Limits,
    prices: Prices,
    spent: Amount,
    reserved: Amount,
    /// Where several processes have it together, theirs counts.
    ledger: Option<Ledger>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leave {
    /// It may go; this is set aside for it.
    Go(Amount),
    /// Perhaps when others are back, which may cost less than what is set aside for them.
    Wait,
    /// Never.
    Over,
}

impl Limits {
    fn leave(&self, spent: Amount, reserved: Amount, wanted: Amount) -> Leave {
        let fits = |mut taken: Amount| {
            taken.add(wanted);
            let within = |limit: f64| taken.dollars <= limit * (1.0 + 1e-9);
            self.dollars.is_none_or(within) && self.tokens.is_none_or(|limit| taken.tokens <= limit)
        };
        let mut with_reserved = spent;
        with_reserved.add(reserved);
        match (fits(with_reserved), fits(spent)) {
            (true, _) => Leave::Go(wanted),
            (false, true) => Leave::Wait,
            (false, false) => Leave::Over,
        }
    }
}

impl Budget {
    /// `spent`: earlier, by the same node.
    pub fn new(limits: Limits, prices: Prices, spent: Amount) -> Budget {
        Budget {
            limits,
            prices,
            spent,
            reserved: Amount::default(),
            ledger: None,
        }
    }

    /// From now on it is one with that of every process that says the same `who`. Where none of them lives, `spent` says what was
    /// spent so far: it is asked while nobody else can begin.
    pub fn share(
        &mut self,
        folder: &Path,
        who: &str,
        spent: impl FnOnce() -> Result<Amount>,
    ) -> Result<()> {
        if self.limits != Limits::default() {
            self.ledger = Some(Ledger::open(folder, who, spent)?);
        }
        Ok(())
    }

    /// Nothing is in flight: what is set aside is for requests that were given up.
    pub fn clear(&mut self) -> Result<()> {
        self.reserved = Amount::default();
        match &self.ledger {
            Some(ledger) => ledger.with(|sums| ledger.give_all_back(sums)),
            None => Ok(()),
        }
    }

    pub fn ask(&mut self, most: &Usage) -> Result<Leave> {
        let wanted = self.amount(most);
        let Some(ledger) = &self.ledger else {
            let leave = self.limits.leave(self.spent, self.reserved, wanted);
            if let Leave::Go(wanted) = leave {
                self.reserved.add(wanted);
            }
            return Ok(leave);
        };
        let limits = self.limits;
        let (leave, spent) = ledger.with(|sums| -> Result<(Leave, Amount)> {
            let mut leave = limits.leave(sums.spent, sums.reserved(), wanted);
            if leave == Leave::Wait && ledger.bury_dead(sums)? {
                leave = limits.leave(sums.spent, sums.reserved(), wanted);
            }
            if let Leave::Go(wanted) = leave {
                ledger.set_aside(sums, wanted);
            }
            Ok((leave, sums.spent))
        })??;
        self.spent = spent;
        Ok(leave)
    }

    /// A request is back, with what it cost; nothing where it failed without a bill that is known.
    pub fn settle(&mut self, reserved: Amount, usage: Option<&Usage>) -> Result<()> {
        let cost = usage.map_or(Amount::default(), |usage| self.amount(usage));
        match &self.ledger {
            None => {
                self.reserved.take(reserved);
                self.spent.add(cost);
            }
            Some(ledger) => {
                self.spent = ledger.with(|sums| {
                    ledger.give_back(sums, reserved);
                    sums.spent.add(cost);
                    sums.spent
                })?;
            }
        }
        Ok(())
    }

    fn amount(&self, usage: &Usage) -> Amount {
        Amount {
            dollars: self.prices.of(usage),
            tokens: usage.prompt + usage.completion,
        }
    }

    /// Says what is left of it, where that is not enough.
    pub(crate) fn shortage(&self) -> String {
        let mut parts = vec![];
        if let Some(limit) = self.limits.dollars {
            let spent = self.spent.dollars;
            parts.push(format!("${spent:.4} of ${limit:.4} are spent"));
        }
        if let Some(limit) = self.limits.tokens {
            parts.push(format!("{} of {limit} tokens are used", self.spent.tokens));
        }
        format!(
            "the budget does not cover the next request at its most: {}",
            parts.join(", ")
        )
    }
}
