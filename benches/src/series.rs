//! Measured times, and what stands for many of them.

/// Values, sorted; as JSON their list.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Series {
    sorted: Vec<f64>,
}

impl Series {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The value below which this share of them lies; not a number where there are none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list of at most millions"
    )]
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// Not a number where there are none.
    #[expect(clippy::cast_precision_loss, reason = "at most millions")]
    pub(crate) fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len() as f64
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_series() {
        let series = Series::new(vec![3.0, 1.0, 2.0, 4.0, 5.0]);
        assert_eq!((series.at(0.0), series.median(), series.at(1.0)), (1.0, 3.0, 5.0));
        assert!((series.mean() - 3.0).abs() < 1e-9);
        assert!(Series::default().median().is_nan() && Series::default().mean().is_nan());
    }
}
