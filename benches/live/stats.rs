//! Medians and percentiles.

use std::fmt;

use crate::section::Short;

/// Several runs of one measurement: shown as median, least and greatest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    pub(crate) fn median(&self) -> f64 {
        percentile(&self.0, 50)
    }

    pub(crate) fn greatest(&self) -> f64 {
        percentile(&self.0, 100)
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }
}

impl FromIterator<f64> for Runs {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut runs = Self::default();
        values.into_iter().for_each(|value| runs.push(value));
        runs
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, greatest] = [0, 50, 100].map(|p| Short(percentile(&self.0, p)));
        write!(f, "{median} [{least}, {greatest}]")
    }
}

/// The value that `p` percent of `sorted` do not exceed; 0 if there is none.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], p: usize) -> T {
    let rank = (sorted.len() * p).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}
