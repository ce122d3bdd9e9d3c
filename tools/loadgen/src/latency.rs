//! Latency histograms and what is read from them.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::limits::{LATENCY_DIGITS, LATENCY_NS_MAX, LATENCY_NS_MIN};
use crate::schedule::Nanos;

/// Latencies of one kind, in nanoseconds. About 250 KiB once something was recorded, nothing before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Option<Box<Histogram<u64>>>);

impl Latencies {
    /// Adds one latency; beyond ten minutes it counts as ten minutes.
    pub(crate) fn record(&mut self, latency: Nanos) {
        self.histogram_mut().saturating_record(latency.max(1));
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Latencies) {
        if let Some(other) = &other.0 {
            // Cannot fail: all histograms here have the same bounds.
            let added = self.histogram_mut().add(other.as_ref());
            debug_assert!(added.is_ok());
        }
    }

    /// Adds a histogram from elsewhere.
    ///
    /// # Errors
    /// It holds values beyond the bounds of those here.
    pub(crate) fn add(&mut self, histogram: &Histogram<u64>) -> Result<(), String> {
        self.histogram_mut().add(histogram).map_err(|error| error.to_string())
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many were recorded.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// The latency that `quantile` (0 to 1) of all do not exceed; 0 when empty.
    #[must_use]
    pub(crate) fn at(&self, quantile: f64) -> Nanos {
        self.0.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile).min(histogram.max()))
    }

    /// The usual percentiles; `None` when empty.
    #[must_use]
    pub(crate) fn summary(&self) -> Option<Summary> {
        let histogram = self.0.as_deref().filter(|histogram| !histogram.is_empty())?;
        let microseconds = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let at = |quantile| microseconds(self.at(quantile));
        Some(Summary {
            count: histogram.len(),
            min: microseconds(histogram.min()),
            mean: microseconds(histogram.mean() as u64),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: microseconds(histogram.max()),
        })
    }

    /// The histogram itself, if anything was recorded.
    #[must_use]
    pub(crate) fn histogram(&self) -> Option<&Histogram<u64>> {
        self.0.as_deref().filter(|histogram| !histogram.is_empty())
    }

    fn histogram_mut(&mut self) -> &mut Histogram<u64> {
        self.0.get_or_insert_with(|| {
            let bounds = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS);
            Box::new(bounds.expect("constant bounds, checked by the test below"))
        })
    }
}

/// Percentiles of one kind of latency, microseconds with one decimal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// How many latencies.
    pub(crate) count: u64,
    /// The smallest.
    pub(crate) min: f64,
    /// Their mean.
    pub(crate) mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The largest.
    pub(crate) max: f64,
}

/// A latency for people: `85 us`, `1.25 ms`, `12.0 s`.
#[must_use]
pub(crate) fn readable(microseconds: f64) -> String {
    match microseconds {
        us if us < 100.0 => format!("{us:.1} us"),
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        assert_eq!(latencies.at(0.5), 0);
        for microseconds in 1..=1_000 {
            latencies.record(microseconds * 1_000);
        }
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 1_000);
        for (got, exact) in
            [(summary.p50, 500.0), (summary.p90, 900.0), (summary.p99, 990.0), (summary.max, 1_000.0)]
        {
            assert!((got - exact).abs() <= exact / 900.0, "{got} for {exact}");
        }
    }

    #[test]
    fn merging_is_recording_together() {
        let (mut one, mut two, mut both) = (Latencies::default(), Latencies::default(), Latencies::default());
        for value in 0..100 {
            if value % 3 == 0 { &mut one } else { &mut two }.record(value * 7_000);
            both.record(value * 7_000);
        }
        one.merge(&two);
        one.merge(&Latencies::default());
        assert_eq!(one.summary(), both.summary());
    }

    #[test]
    fn extremes_are_kept_within_bounds() {
        let mut latencies = Latencies::default();
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.at(1.0) >= LATENCY_NS_MAX);
    }

    #[test]
    fn latencies_are_readable() {
        let table = [
            (8.04, "8.0 us"),
            (850.0, "850 us"),
            (1_250.0, "1.25 ms"),
            (250_000.0, "250 ms"),
            (12e6, "12.00 s"),
        ];
        for (microseconds, text) in table {
            assert_eq!(readable(microseconds), text);
        }
    }
}
