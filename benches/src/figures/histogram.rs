//! A histogram of latencies. The width of a bucket grows with the value, so a percentile is exact to 1 % from
//! nanoseconds to hours. The memory is allocated once, before the measurement.

/// Buckets for each power of two.
const PRECISION: u64 = 128;

/// The number of occurrences of each latency.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// Returns an empty histogram.
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0 }
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
        self.count += 1;
    }

    /// Returns the number of values added.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the value not exceeded by `percent` of the values; 0 if the histogram is empty.
    pub(crate) fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, lower_bound)
    }
}

/// Returns the bucket of a value: one bucket per value below `PRECISION`, then `PRECISION` buckets per power of two.
fn bucket(value: u64) -> usize {
    let shift = (value / PRECISION).checked_ilog2().map_or(0, |doublings| doublings + 1);
    let shift = shift.saturating_sub(1);
    (u64::from(shift) * PRECISION + (value >> shift)) as usize
}

/// Returns the smallest value of a bucket.
fn lower_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PRECISION).saturating_sub(1);
    (bucket - shift * PRECISION) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_begins_just_below_it() {
        for value in (0..10_000).chain((0..63).map(|bit| (1 << bit) + 12_345)) {
            let begin = lower_bound(bucket(value));
            assert!(begin <= value && value - begin <= value / PRECISION, "{value} is in the bucket of {begin}");
        }
    }

    #[test]
    fn percentiles_of_one_to_a_hundred() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|value| histogram.add(value));
        assert_eq!((histogram.percentile(50), histogram.percentile(99), histogram.count()), (50, 99, 100));
    }
}
