//! What may be spent, and is not exceeded: a request leaves only if what was spent, what the requests in flight may cost at most,
//! and what it may cost at most, stay within the limits.

use crate::endpoint::{Limits, Prices};
use crate::protocol::Usage;

pub struct Budget {
    limits: Limits,
    prices: Prices,
    spent: Amount,
    reserved: Amount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    pub dollars: f64,
    pub tokens: u64,
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

impl Budget {
    /// `spent`: earlier, by the same node.
    pub fn new(limits: Limits, prices: Prices, spent: Amount) -> Budget {
        Budget {
            limits,
            prices,
            spent,
            reserved: Amount::default(),
        }
    }

    pub fn ask(&mut self, most: &Usage) -> Leave {
        let wanted = Amount {
            dollars: self.prices.of(most),
            tokens: most.prompt + most.completion,
        };
        let fits = |taken: Amount| {
            let dollars = taken.dollars + wanted.dollars;
            let within = |limit: f64| dollars <= limit * (1.0 + 1e-9);
            let tokens = taken.tokens + wanted.tokens;
            self.limits.dollars.is_none_or(within)
                && self.limits.tokens.is_none_or(|limit| tokens <= limit)
        };
        let with_reserved = Amount {
            dollars: self.spent.dollars + self.reserved.dollars,
            tokens: self.spent.tokens + self.reserved.tokens,
        };
        if fits(with_reserved) {
            self.reserved.dollars += wanted.dollars;
            self.reserved.tokens += wanted.tokens;
            return Leave::Go(wanted);
        }
        match fits(self.spent) {
            true => Leave::Wait,
            false => Leave::Over,
        }
    }

    /// A request is back, with what it cost; nothing where it failed without a bill that is known.
    pub fn settle(&mut self, reserved: Amount, usage: Option<&Usage>) {
        self.reserved.dollars = (self.reserved.dollars - reserved.dollars).max(0.0);
        self.reserved.tokens = self.reserved.tokens.saturating_sub(reserved.tokens);
        // Sums of fractions do not come back to zero by themselves, and somebody may wait for just that.
        if self.reserved.tokens == 0 {
            self.reserved.dollars = 0.0;
        }
        if let Some(usage) = usage {
            self.spent.dollars += self.prices.of(usage);
            self.spent.tokens += usage.prompt + usage.completion;
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
