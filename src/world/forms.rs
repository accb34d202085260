//! The forms of a request and how many prompts take each.

use anyhow::{Result, bail};

/// How a request is put; its word is the row's `category`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Plain,
    Role,
    Code,
    Box,
    RoleCode,
}

impl Form {
    pub const ALL: [Form; 5] = [
        Form::Plain,
        Form::Role,
        Form::Code,
        Form::Box,
        Form::RoleCode,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Role => "role",
            Form::Code => "code",
            Form::Box => "box",
            Form::RoleCode => "role+code",
        }
    }
}

/// Weights of the forms; they need not add up to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forms {
    pub plain: f64,
    pub role: f64,
    pub code: f64,
    pub boxed: f64,
    pub role_code: f64,
}

impl Default for Forms {
    fn default() -> Self {
        Forms::with_plain(0.4)
    }
}

impl Forms {
    /// Plain requests at this share, the four disguises sharing the rest evenly.
    pub fn with_plain(plain: f64) -> Forms {
        let other = (1.0 - plain) / 4.0;
        Forms {
            plain,
            role: other,
            code: other,
            boxed: other,
            role_code: other,
        }
    }

    pub const PLAIN: Forms = Forms {
        plain: 1.0,
        role: 0.0,
        code: 0.0,
        boxed: 0.0,
        role_code: 0.0,
    };

    /// In the order of `Form::ALL`, adding up to one. Errors: a weight that is negative or not a number, or none above zero.
    pub(super) fn shares(&self) -> Result<[f64; 5]> {
        let weights = [self.plain, self.role, self.code, self.boxed, self.role_code];
        let sum: f64 = weights.iter().sum();
        if weights.iter().any(|w| w.is_nan() || *w < 0.0) || !(sum > 0.0 && sum.is_finite()) {
            bail!(
                "the weights of the forms are to be at least 0 and not all 0, they are {weights:?}"
            );
        }
        Ok(weights.map(|w| w / sum))
    }

    /// How many of `n` take each form, by largest remainder.
    pub(super) fn counts(&self, n: usize) -> Result<[usize; 5]> {
        let exact = self.shares()?.map(|share| share * n as f64);
        let mut counts = exact.map(|x| x.floor() as usize);
        let mut order: Vec<usize> = (0..exact.len()).filter(|&i| exact[i] > 0.0).collect();
        order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        let missing = n - counts.iter().sum::<usize>();
        for &i in order.iter().cycle().take(missing) {
            counts[i] += 1;
        }
        Ok(counts)
    }
}
