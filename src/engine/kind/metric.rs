//! What a kind says of the metrics it writes: how tables call them, in which unit they are, and which direction is better.

use serde::Serialize;

/// A metric of a kind, or a family of them whose names begin alike.
#[derive(Clone, Copy, Serialize)]
pub struct MetricInfo {
    /// As the kind writes it; `refusal/*` stands for all names that begin with `refusal/`.
    pub name: &'static str,
    /// What tables call it; what the star stands for takes the place of a star.
    pub label: &'static str,
    /// As in `base::rows::Metric`; empty where members of the family differ.
    pub unit: &'static str,
    pub better: Better,
    /// What the star stands for; empty: anything.
    pub among: &'static [&'static str],
    /// The star stands for a label of the rows and a value of it, as in `defense/functional/standard`.
    pub split: bool,
    /// What a name that it had before is called now.
    #[serde(skip)]
    pub was: fn(&str) -> Option<String>,
}

/// Which direction is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
    /// It depends, or it only describes.
    Neither,
}

impl Better {
    /// As a sentence of the manual; nothing for `Neither`.
    pub fn words(self) -> &'static str {
        match self {
            Better::Higher => "higher is better",
            Better::Lower => "lower is better",
            Better::Neither => "",
        }
    }
}

impl MetricInfo {
    const fn new(
        name: &'static str,
        unit: &'static str,
        label: &'static str,
        better: Better,
    ) -> MetricInfo {
        MetricInfo {
            name,
            label,
            unit,
            better,
            among: &[],
            split: false,
            was: |_| None,
        }
    }

    /// Its star stands for one of these.
    pub const fn of(self, among: &'static [&'static str]) -> MetricInfo {
        MetricInfo { among, ..self }
    }

    /// Its star stands for a label of the rows and a value of it.
    pub const fn by_label(self) -> MetricInfo {
        MetricInfo {
            split: true,
            ..self
        }
    }

    /// It had other names before.
    pub const fn was(self, now: fn(&str) -> Option<String>) -> MetricInfo {
        MetricInfo { was: now, ..self }
    }

    /// What a list calls it: the names that it stands for, or one with what the star stands for in capitals.
    pub fn names(&self) -> Vec<String> {
        let Some(start) = self.name.strip_suffix('*') else {
            return vec![self.name.into()];
        };
        let rest: Vec<&str> = match (self.among.is_empty(), self.split) {
            (false, _) => self.among.to_vec(),
            (true, true) => vec!["LABEL/VALUE"],
            (true, false) => vec!["*"],
        };
        rest.iter().map(|rest| format!("{start}{rest}")).collect()
    }

    /// Higher is better.
    pub const fn higher(name: &'static str, unit: &'static str, label: &'static str) -> MetricInfo {
        MetricInfo::new(name, unit, label, Better::Higher)
    }

    /// Lower is better.
    pub const fn lower(name: &'static str, unit: &'static str, label: &'static str) -> MetricInfo {
        MetricInfo::new(name, unit, label, Better::Lower)
    }

    /// Neither direction is better.
    pub const fn plain(name: &'static str, unit: &'static str, label: &'static str) -> MetricInfo {
        MetricInfo::new(name, unit, label, Better::Neither)
    }

    fn fits(&self, rest: &str) -> bool {
        match self.split {
            true => rest
                .split_once('/')
                .is_some_and(|(label, value)| !label.is_empty() && !value.is_empty()),
            false => !rest.is_empty() && (self.among.is_empty() || self.among.contains(&rest)),
        }
    }

    /// What tables call the metric of this name, if it is this one or of this family.
    fn label_of(&self, name: &str) -> Option<String> {
        match self.name.strip_suffix('*') {
            Some(start) => {
                let rest = name.strip_prefix(start).filter(|rest| self.fits(rest))?;
                Some(self.label.replace('*', rest))
            }
            None => (self.name == name).then(|| self.label.into()),
        }
    }
}

/// The first of these that a metric is, with what tables call it.
pub(super) fn find<'a>(all: &'a [MetricInfo], name: &str) -> Option<(&'a MetricInfo, String)> {
    all.iter()
        .find_map(|info| Some((info, info.label_of(name)?)))
}
